//! The scheduler's state of a CPU, and the table of all CPUs.
//!
//! The whole table is made by the boot CPU before any other starts, so it is read
//! without locks; a CPU that never comes up leaves an unused entry.

use alloc::boxed::Box;
use alloc::vec::Vec;

use arch::irq::Target;
use arch::percpu::{self, PerCpu};
use arch::timer;
use kcore::cpu::{CpuId, CpuSet, CpuState};
use kcore::handoff::Request;
use kcore::lookup::Claim;
use kcore::mm::MmId;
use kcore::task::TaskMm;

use super::cpu_bits::CpuBits;
use super::descriptor::{Birth, Task, TaskPtr, TaskRef};
use super::idle::IdleFlag;
use super::offline::Departure;
use super::registry::IDLE_TID;
use super::run_queue::RunQueue;
use super::smp::Arrival;
use super::timer::Clock;
use super::watchdog::Watch;
use super::work::Works;
use crate::machine::lazy_tlb;
use crate::sync::Fixed;

static CPUS: Fixed<Box<[Cpu]>> = Fixed::unset();

/// CPUs where tasks are placed.
pub(super) static ONLINE: CpuBits = CpuBits::empty();

/// The scheduler's part of one CPU.
#[repr(C, align(128))]
pub(super) struct Cpu {
    /// Its logical number.
    pub(super) id: CpuId,
    /// Where its interrupts go: here, because a waker has this line.
    pub(super) ipi_target: Target,
    /// The part that assembly uses.
    pub(super) area: &'static PerCpu,
    /// What the protocol keeps for it.
    protocol: &'static CpuState,
    /// Runs when nothing else does. It lives as long as the table.
    pub(super) idle: TaskPtr,
    /// Whether it has nothing to do.
    pub(super) idle_flag: IdleFlag,
    /// It was asked to schedule.
    pub(super) need_resched: Request,
    /// The watchdog's state.
    pub(super) watch: Watch,
    /// Tasks that wait for it.
    pub(super) queue: RunQueue,
    /// Time slice and alarms.
    pub(super) clock: Clock,
    /// Whether it came up in time.
    pub(super) arrival: Arrival,
    /// How far it is on its way offline.
    pub(super) departure: Departure,
    /// Work for its worker.
    pub(super) works: Works,
    /// The description that it is about to take a reference of.
    claim: Claim,
}

impl Cpu {
    fn new(id: CpuId, area: &'static PerCpu, idle: TaskRef) -> Self {
        idle.set_cpu(id);
        idle.run_state.set_running();
        idle.counts.enter(timer::now_tb());
        idle.on_cpu.begin();
        Self {
            id,
            ipi_target: area.ipi_target(),
            area,
            protocol: lazy_tlb().cpu(id),
            // The table keeps the idle task's own reference, for ever.
            idle: TaskPtr::new(TaskRef::into_raw(idle)),
            idle_flag: IdleFlag::new(),
            need_resched: Request::none(),
            watch: Watch::new(),
            queue: RunQueue::new(id),
            clock: Clock::new(),
            arrival: Arrival::open(),
            departure: Departure::new(),
            works: Works::new(),
            claim: Claim::default(),
        }
    }

    /// The mm that it has loaded.
    #[inline(always)]
    pub(super) fn loaded(&self) -> MmId {
        self.protocol.active_mm.peek()
    }

    /// The idle task.
    pub(super) fn idle(&self) -> &Task {
        // SAFETY: the table's reference is never given back.
        unsafe { self.idle.get() }
    }

    /// Forgets requests from a former life of this CPU, which others may have made until now. On
    /// that CPU, before it takes interrupts.
    pub(super) fn restart(&self) {
        self.need_resched.forget();
        self.area.clear_work();
        self.watch.restart();
        self.clock.restart();
    }

    /// Makes this entry that of the CPU we are on, whose current context becomes
    /// its idle task. Interrupts off.
    pub(super) fn adopt(&'static self) {
        let idle = self.idle();
        // SAFETY: an entry of the table. Interrupts are off, and the context that runs here is the
        // idle task's, on the stack that it names.
        unsafe {
            self.area.set_local(core::ptr::from_ref(self).cast_mut().cast());
            percpu::set_current(self.idle.raw().cast(), idle.stack_top);
        }
        crate::trace::take_setting();
    }
}

/// This CPU's entry, or none before [`init`]. Keep it no longer than preemption
/// stays off.
#[inline(always)]
pub(super) fn try_this() -> Option<&'static Cpu> {
    let local: *const Cpu = percpu::this().local().cast();
    // SAFETY: null, or what `adopt` stored: an entry of the table, which is never
    // freed.
    unsafe { local.as_ref() }
}

/// This CPU's entry. Keep it no longer than preemption stays off.
#[inline(always)]
pub(super) fn this() -> &'static Cpu {
    try_this().expect("the scheduler is used before task::init")
}

/// This CPU's claim. Keep it no longer than preemption stays off.
#[inline(always)]
pub(crate) fn claim() -> &'static Claim {
    &this().claim
}

/// The claims of all CPUs. A CPU that is offline claims nothing.
pub(crate) fn claims() -> impl Iterator<Item = &'static Claim> {
    all().iter().map(|cpu| &cpu.claim)
}

/// The entry of `id`.
#[inline]
pub(super) fn get(id: CpuId) -> &'static Cpu {
    &CPUS.get()[id.index()]
}

/// How many CPUs the table has.
pub(super) fn count() -> usize {
    CPUS.get().len()
}

/// All entries.
pub(super) fn all() -> &'static [Cpu] {
    CPUS.get()
}

/// Where the interrupts of `id` go.
#[inline]
pub(crate) fn ipi_target_of(id: CpuId) -> Target {
    get(id).ipi_target
}

/// The part of `id` that assembly uses.
pub(crate) fn area_of(id: CpuId) -> &'static PerCpu {
    get(id).area
}

/// The addresses of all CPUs' areas, for debuggers; kept for ever.
pub(crate) fn area_addresses() -> &'static [usize] {
    Box::leak(all().iter().map(|cpu| core::ptr::from_ref(cpu.area).addr()).collect())
}

/// How long `cpu` has had nothing to do, in ticks of the time base.
pub(crate) fn idle_time_tb(cpu: CpuId) -> u64 {
    get(cpu).idle().usage().ran_tb
}

/// The CPUs that schedule.
pub(crate) fn online_cpus() -> CpuSet {
    ONLINE.snapshot()
}

/// Makes the scheduler's state for CPUs with the hardware numbers `servers`, the
/// first being the one we are on, whose boot context becomes its idle task; joins
/// the lazy-TLB protocol. Heap and frames are up; interrupts off.
pub(crate) fn init(servers: &[u32]) {
    let table: Vec<Cpu> = servers.iter().enumerate().map(|(n, &server)| make(n, server)).collect();
    // SAFETY: no other CPU runs yet.
    unsafe { CPUS.set(table.into_boxed_slice()) };
    let boot = get(CpuId::BOOT);
    boot.adopt();
    lazy_tlb().start_cpu();
    ONLINE.insert(boot.id);
}

fn make(n: usize, server: u32) -> Cpu {
    let id = CpuId::new(n);
    let area = match id {
        CpuId::BOOT => percpu::this(),
        _ => super::smp::new_area(id, server),
    };
    let mut affinity = CpuSet::EMPTY;
    affinity.insert(id);
    let idle = Task::new(Birth {
        tid: IDLE_TID,
        name: "idle",
        mm: TaskMm::kernel(),
        affinity: &affinity,
        user: None,
        body: None,
        stack: Err(area.kernel_stack_top()),
    });
    Cpu::new(id, area, idle)
}
