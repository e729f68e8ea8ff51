//! The area that a CPU finds through r13 while it is in the kernel.
//!
//! SPRG0 holds its address too; the interrupt prolog takes r13 from there and
//! keeps the user's r13 in the frame. The fields at the top are touched by
//! every entry and exit and share the first cache line.
//!
//! A running task can be moved to another CPU whenever interrupts are on.
//! Accessors here are therefore *one* access relative to r13. `this()` gives a
//! reference to the CPU's area that does not follow the task, so interrupts or
//! preemption must be off while it is held.

use crate::exceptions::frame::KERNEL_FRAME_BYTES;
use crate::exceptions::{self, SystemCalls};
use crate::irq::Target;
use crate::ring::{self, Ring};
use core::arch::asm;
use core::cell::UnsafeCell;
use core::mem::offset_of;
use core::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering};
use kcore::cpu::{CpuId, MAX_CPUS};

/// Kernel stacks are slots of this size, aligned to it. The lower half is the
/// guard, so bit 14 of r1 tells a good stack pointer from an overflown one.
pub const STACK_SLOT: u64 = 32 * 1024;
/// The usable upper half of a slot, in bytes.
pub const STACK_SIZE: u64 = STACK_SLOT / 2;

/// The per-CPU area. Layout shared with assembly through `offset_of!`.
#[repr(C, align(128))]
pub struct PerCpu {
    /// Where an entry from user mode builds its frame: the top of the current
    /// task's kernel stack less one frame.
    pub(crate) user_frame: AtomicU64,
    /// The TOC pointer (r2) of the image.
    pub(crate) toc: AtomicU64,
    /// The running task; the kernel's own type.
    current: AtomicPtr<()>,
    /// The table of system calls.
    pub(crate) system_calls: AtomicPtr<SystemCalls>,
    /// Nonzero: look for a reschedule or a signal before leaving the kernel.
    pub(crate) work: AtomicU32,
    preempt_count: AtomicU32,
    cpu: AtomicU32,
    server: AtomicU32,
    /// r9 to r12 of the interrupted context, from the first instruction of an
    /// interrupt until they are in the frame. Interrupts are off in between.
    pub(crate) scratch: UnsafeCell<[u64; 4]>,
    /// Target of the store that drops a stale reservation.
    pub(crate) reservation: AtomicU64,
    /// Where it records events.
    ring: AtomicPtr<Ring>,

    /// Scratch of the NMI prolog, which may interrupt the other prolog.
    pub(crate) nmi_scratch: UnsafeCell<[u64; 4]>,
    /// NMIs that are being handled: a nested one stays on the stack it finds.
    pub(crate) nmi_depth: AtomicU64,
    /// Top of the NMI stack less one frame. In the linear map: NMIs arrive in
    /// real mode.
    pub(crate) nmi_frame: AtomicU64,
    /// Top of the stack for overflows of the normal one, less one frame.
    pub(crate) emergency_frame: AtomicU64,
    /// The kernel's own per-CPU structure.
    local: AtomicPtr<()>,
    /// A [`Target`].
    ipi_target: AtomicU64,
    /// Under XIVE, where the management page of the source of this CPU's IPIs is mapped.
    pub(crate) ipi_source: AtomicU64,
}

// SAFETY: the `UnsafeCell`s are touched by the owning CPU's prologs only, in
// assembly, with interrupts off; all else is atomic.
unsafe impl Sync for PerCpu {}

/// Byte offsets for assembly.
pub(crate) mod offset {
    use super::{PerCpu, offset_of};
    pub(crate) const USER_FRAME: usize = offset_of!(PerCpu, user_frame);
    pub(crate) const TOC: usize = offset_of!(PerCpu, toc);
    pub(crate) const SYSTEM_CALLS: usize = offset_of!(PerCpu, system_calls);
    pub(crate) const CURRENT: usize = offset_of!(PerCpu, current);
    pub(crate) const WORK: usize = offset_of!(PerCpu, work);
    pub(crate) const PREEMPT_COUNT: usize = offset_of!(PerCpu, preempt_count);
    pub(crate) const CPU: usize = offset_of!(PerCpu, cpu);
    pub(crate) const SCRATCH: usize = offset_of!(PerCpu, scratch);
    pub(crate) const RESERVATION: usize = offset_of!(PerCpu, reservation);
    pub(crate) const RING: usize = offset_of!(PerCpu, ring);
    pub(crate) const NMI_SCRATCH: usize = offset_of!(PerCpu, nmi_scratch);
    pub(crate) const NMI_DEPTH: usize = offset_of!(PerCpu, nmi_depth);
    pub(crate) const NMI_FRAME: usize = offset_of!(PerCpu, nmi_frame);
    pub(crate) const EMERGENCY_FRAME: usize = offset_of!(PerCpu, emergency_frame);
}

/// The tops of the stacks that a CPU owns: virtual addresses within the upper half of a
/// [`STACK_SLOT`]-aligned slot, or at its end.
#[derive(Clone, Copy, Debug)]
pub struct Stacks {
    /// For the first task on this CPU.
    pub kernel_top: u64,
    /// For kernel-stack overflows.
    pub emergency_top: u64,
    /// For NMIs; must lie in the linear map (or the image).
    pub nmi_top: u64,
}

impl PerCpu {
    /// Where debuggers find the running task.
    pub const CURRENT_OFFSET: usize = offset::CURRENT;
    /// Where debuggers find the kernel's per-CPU structure.
    pub const LOCAL_OFFSET: usize = offset_of!(PerCpu, local);

    /// An area without stacks, for statics; [`Self::set_stacks`] completes it.
    #[must_use]
    pub const fn empty() -> Self {
        PerCpu {
            user_frame: AtomicU64::new(0),
            toc: AtomicU64::new(0),
            current: AtomicPtr::new(core::ptr::null_mut()),
            system_calls: AtomicPtr::new(core::ptr::null_mut()),
            work: AtomicU32::new(0),
            preempt_count: AtomicU32::new(0),
            cpu: AtomicU32::new(0),
            server: AtomicU32::new(0),
            scratch: UnsafeCell::new([0; 4]),
            reservation: AtomicU64::new(0),
            ring: AtomicPtr::new(ring::SINK.cast_mut()),
            nmi_scratch: UnsafeCell::new([0; 4]),
            nmi_depth: AtomicU64::new(0),
            nmi_frame: AtomicU64::new(0),
            emergency_frame: AtomicU64::new(0),
            local: AtomicPtr::new(core::ptr::null_mut()),
            ipi_target: AtomicU64::new(0),
            ipi_source: AtomicU64::new(0),
        }
    }

    /// The area of CPU `cpu`, whose hardware number is `server`.
    #[must_use]
    pub fn new(cpu: CpuId, server: u32, stacks: Stacks) -> Self {
        let area = Self::empty();
        area.cpu.store(cpu.index() as u32, Ordering::Relaxed);
        area.server.store(server, Ordering::Relaxed);
        area.set_stacks(stacks);
        area
    }

    /// Sets the stacks and the TOC pointer. Call it before the CPU can take an
    /// interrupt. Relaxed: starting the CPU (or being on it) orders the stores.
    pub(crate) fn set_stacks(&self, stacks: Stacks) {
        let frame = |top: u64| top - KERNEL_FRAME_BYTES;
        self.user_frame.store(frame(stacks.kernel_top), Ordering::Relaxed);
        self.emergency_frame.store(frame(stacks.emergency_top), Ordering::Relaxed);
        self.nmi_frame.store(frame(stacks.nmi_top), Ordering::Relaxed);
        self.toc.store(toc(), Ordering::Relaxed);
        self.find_system_calls();
    }

    /// Takes over the table of system calls, if it is installed.
    pub(crate) fn find_system_calls(&self) {
        let table = exceptions::system_calls().map_or(core::ptr::null(), core::ptr::from_ref);
        self.system_calls.store(table.cast_mut(), Ordering::Relaxed);
    }

    /// Sets the hardware number of the boot CPU, from the device tree.
    pub(crate) fn set_server(&self, server: u32) {
        self.server.store(server, Ordering::Relaxed);
    }

    /// Logical number.
    #[inline]
    #[must_use]
    pub fn cpu_id(&self) -> CpuId {
        CpuId::new(self.cpu.load(Ordering::Relaxed) as usize)
    }

    /// The hardware number: the target of `start-cpu` and of interrupts.
    #[inline]
    #[must_use]
    pub fn server(&self) -> u32 {
        self.server.load(Ordering::Relaxed)
    }

    /// Where this CPU's IPIs go. Set before it starts.
    #[must_use]
    pub fn ipi_target(&self) -> Target {
        Target(self.ipi_target.load(Ordering::Relaxed))
    }

    pub(crate) fn set_ipi_target(&self, target: Target) {
        self.ipi_target.store(target.0, Ordering::Relaxed);
    }

    /// Top of the running task's kernel stack.
    #[inline]
    #[must_use]
    pub fn kernel_stack_top(&self) -> u64 {
        self.user_frame.load(Ordering::Relaxed) + KERNEL_FRAME_BYTES
    }

    /// The task that runs on this CPU, null before the first: for reports about
    /// other CPUs. A task finds itself with [`current_task`].
    #[must_use]
    pub fn current(&self) -> *const () {
        self.current.load(Ordering::Relaxed)
    }

    /// The kernel's per-CPU structure, null until set.
    #[inline]
    #[must_use]
    pub fn local(&self) -> *mut () {
        self.local.load(Ordering::Relaxed)
    }

    /// Sets the kernel's per-CPU structure; before the CPU is started, or on it.
    ///
    /// # Safety
    /// It is what the kernel takes it for, for ever.
    pub unsafe fn set_local(&self, local: *mut ()) {
        self.local.store(local, Ordering::Relaxed);
    }

    /// Sets where events are recorded, or with none that they are dropped, and the table of system calls.
    /// On this CPU, interrupts off.
    pub fn set_ring(&self, ring: Option<&'static Ring>, calls: &'static SystemCalls) {
        let ring = ring.map_or(ring::SINK, core::ptr::from_ref);
        self.ring.store(ring.cast_mut(), Ordering::Relaxed);
        self.system_calls.store(core::ptr::from_ref(calls).cast_mut(), Ordering::Relaxed);
    }

    /// Whether events of this CPU are recorded.
    pub fn has_ring(&self) -> bool {
        self.ring.load(Ordering::Relaxed).cast_const() != ring::SINK
    }

    /// Asks this CPU to look for work before it next leaves the kernel. On this
    /// CPU, interrupts off: another CPU sends an interrupt, whose handler calls this.
    #[inline]
    pub fn set_work(&self) {
        self.work.store(1, Ordering::Relaxed);
    }

    /// Asks for it if `reasons` is not 0, and takes the request back if it is. Interrupts off, on
    /// this CPU.
    #[inline]
    pub fn set_work_if(&self, reasons: u32) {
        self.work.store(reasons, Ordering::Relaxed);
    }

    /// Takes the request back. Interrupts off, on this CPU.
    #[inline]
    pub fn clear_work(&self) {
        self.work.store(0, Ordering::Relaxed);
    }

    /// Whether work was asked for.
    #[inline]
    #[must_use]
    pub fn work_pending(&self) -> bool {
        self.work.load(Ordering::Relaxed) != 0
    }
}

/// The image's TOC pointer: every function of a static image has this one.
fn toc() -> u64 {
    let toc;
    // SAFETY: reads a register.
    unsafe { asm!("mr {}, 2", out(reg) toc, options(nostack, nomem, preserves_flags)) };
    toc
}

/// This CPU's area. Keep it no longer than preemption stays off.
#[inline(always)]
#[must_use]
pub fn this() -> &'static PerCpu {
    let area: *const PerCpu;
    // SAFETY: r13 points to this CPU's area in all kernel code, and areas are
    // never freed. Not `pure`: the answer changes when the task moves.
    unsafe {
        asm!("mr {}, 13", out(reg) area, options(nostack, nomem, preserves_flags));
        &*area
    }
}

/// The logical number of the CPU this runs on; stale at once with preemption on.
#[inline(always)]
#[must_use]
pub fn cpu_id() -> CpuId {
    let cpu: u64;
    // SAFETY: r13 points to this CPU's area.
    unsafe {
        asm!("lwz {}, {}(13)", out(reg) cpu, const offset::CPU,
            options(nostack, readonly, preserves_flags));
    }
    // No more than a mask: the number is in range.
    CpuId::new(cpu as usize % MAX_CPUS)
}

/// The running task. One load, so it is right with preemption on as well.
#[inline(always)]
#[must_use]
pub fn current_task() -> *const () {
    let task: *const ();
    // SAFETY: r13 points to this CPU's area.
    unsafe {
        asm!("ld {}, {}(13)", out(reg) task, const offset::CURRENT,
            options(nostack, readonly, preserves_flags));
    }
    task
}

/// Makes `task` the running one, on the kernel stack that ends at `stack_top`.
///
/// # Safety
/// Interrupts off; `stack_top` is the top of a mapped kernel stack that belongs
/// to `task`, and the switch to it follows.
#[inline]
pub unsafe fn set_current(task: *const (), stack_top: u64) {
    let area = this();
    area.current.store(task.cast_mut(), Ordering::Relaxed);
    area.user_frame.store(stack_top - KERNEL_FRAME_BYTES, Ordering::Relaxed);
}

/// This CPU's preemption count: how many sections with preemption off are open.
#[inline(always)]
#[must_use]
pub fn preempt_count() -> u32 {
    let count: u64;
    // SAFETY: r13 points to this CPU's area.
    unsafe {
        asm!("lwz {}, {}(13)", out(reg) count, const offset::PREEMPT_COUNT,
            options(nostack, readonly, preserves_flags));
    }
    count as u32
}

/// Adds to this CPU's preemption count (`-1` takes one back).
///
/// Load and store are both relative to r13: a task can only be moved between
/// them while the count is 0 on the CPU it leaves and on the one it enters. A
/// compiler barrier, so nothing leaves the section.
///
/// # Safety
/// Who takes one back has added it, and uses no token that was made of it any more.
#[inline(always)]
pub unsafe fn preempt_count_add(delta: i32) {
    // SAFETY: r13 points to this CPU's area, whose field only this CPU writes.
    unsafe {
        asm!("lwz {t}, {o}(13)", "add {t}, {t}, {d}", "stw {t}, {o}(13)",
            t = out(reg) _, d = in(reg) i64::from(delta),
            o = const offset::PREEMPT_COUNT, options(nostack, preserves_flags));
    }
}
