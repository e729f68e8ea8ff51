//! The kernel's half of the exceptions: one trait, installed once.

use super::frame::TrapFrame;
use crate::addr::VirtAddr;
use crate::percpu;
use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicBool, Ordering};
use kcore::machine::IrqsOff;

/// The cause of a page fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultCause {
    /// No page there.
    NotMapped,
    /// A page that does not permit the access.
    Protection,
    /// A malformed tree, or a process-table entry without one (the guard PID).
    BadTree,
}

/// A page fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The address that was accessed.
    pub addr: VirtAddr,
    /// The access was a store.
    pub write: bool,
    /// It was an instruction fetch.
    pub exec: bool,
    /// The cause.
    pub cause: FaultCause,
}

/// Any other fault of a user program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UserFault {
    /// No such instruction, or a facility that is turned off.
    Illegal,
    /// A privileged instruction.
    Privileged,
    /// A trap instruction.
    Trap,
    /// An enabled floating-point exception.
    FloatingPoint,
    /// An access that must be aligned and is not.
    Alignment(VirtAddr),
    /// An address outside the 52 bits that can be mapped.
    Segment(VirtAddr),
    /// A single step or branch trace that was asked for.
    SingleStep,
    /// A vector that this kernel never enables.
    Unexpected(u64),
}

/// A fault of the kernel: a bug, or broken hardware.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KernelFault {
    /// Not a user address, or not inside a user copy.
    Page(Fault),
    /// The kernel stack is used up. Runs on the emergency stack.
    StackOverflow,
    /// A machine check (0x200). Runs on the NMI stack.
    MachineCheck,
    /// An NMI came while SRR0 and SRR1 were live: the code cannot be continued.
    Unrecoverable,
    /// Any other vector.
    Exception(u64),
}

/// How a system call ends: `entry.S` finds the two in r3 and r4.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Outcome {
    /// The result, if there is no error.
    pub value: u64,
    /// The error number, or 0. Above 511 it is the kernel's own, and
    /// [`Upcalls::syscall_end`] decides.
    pub errno: u64,
}

/// The largest error number that a program may see.
pub(super) const MAX_ERRNO: u64 = 511;
/// The error of a call that can only go on with a whole frame
/// ([`TrapFrame::is_whole`]). It starts over with one; until then it has done nothing.
pub const NEEDS_WHOLE_FRAME: u64 = 1023;

/// The function of a system call. Interrupts and preemption on. It gets the arguments, r3
/// to r8, and the frame.
pub type SystemCall = extern "C" fn(u64, u64, u64, u64, u64, u64, &mut TrapFrame) -> Outcome;

/// Numbers of system calls are below this.
pub const NR_SYSTEM_CALLS: usize = 460;

/// The functions by number. The last one is for all other numbers.
pub type SystemCalls = [SystemCall; NR_SYSTEM_CALLS + 1];

/// The kernel's half. Methods run on the interrupted task's kernel stack unless
/// the method says otherwise. "As before" means interrupts as the interrupted
/// code had them.
pub trait Upcalls: Sync {
    /// The system calls.
    fn system_calls(&self) -> &'static SystemCalls;

    /// A system call has ended with an error above 511, or with a whole frame.
    /// Interrupts on. Answers with [`TrapFrame::set_result`], or changes the frame.
    fn syscall_end(&self, frame: &mut TrapFrame, outcome: Outcome);

    /// A page fault, from user mode or at a user address inside a user copy
    /// (`frame.is_user()` distinguishes them). Interrupts as before. After the
    /// return the access is tried again; for a copy that cannot succeed, call
    /// [`TrapFrame::fixup`].
    fn page_fault(&self, frame: &mut TrapFrame, fault: Fault);

    /// Any other fault of a user program. Interrupts on.
    fn user_fault(&self, frame: &mut TrapFrame, fault: UserFault);

    /// The user program needs FP, VMX or VSX: load its vector state and set
    /// MSR\[FP, VEC, VSX\] in the frame. Interrupts on.
    fn fpu_unavailable(&self, frame: &mut TrapFrame);

    /// An external interrupt (0x500).
    fn interrupt(&self, off: &IrqsOff);

    /// The decrementer (0x900) is negative: set it anew. Interrupts off, on
    /// return too.
    fn timer(&self);

    /// The work flag was set on the way to user mode. May turn interrupts on and
    /// reschedule meanwhile. Called again for as long as the flag is set.
    fn return_to_user(&self, frame: &mut TrapFrame, off: &mut IrqsOff);

    /// An interrupt returns to kernel code with the work flag set: reschedules if
    /// preemption is on.
    fn preempt_kernel(&self, off: &mut IrqsOff);

    /// The kernel has failed. Interrupts off.
    fn kernel_fault(&self, frame: &TrapFrame, fault: KernelFault) -> !;

    /// System reset (0x100), the non-maskable interrupt. Runs on the NMI stack
    /// with interrupts off and may interrupt anything, so it takes no lock. Must
    /// not return if `!frame.is_recoverable()`; [`Self::kernel_fault`] follows if
    /// it does.
    fn nmi(&self, frame: &mut TrapFrame);
}

struct Installed(UnsafeCell<Option<&'static dyn Upcalls>>);

// SAFETY: written once, in `install`, before any other CPU runs; then only read.
unsafe impl Sync for Installed {}

static UPCALLS: Installed = Installed(UnsafeCell::new(None));

/// Installs the kernel's half, once.
///
/// # Safety
/// By the boot CPU, before the vectors are in place and before other CPUs start (which
/// orders the store before their reads).
pub unsafe fn install(upcalls: &'static dyn Upcalls) {
    static DONE: AtomicBool = AtomicBool::new(false);
    assert!(!DONE.swap(true, Ordering::Relaxed), "upcalls installed twice");
    // SAFETY: this is the one write; nothing reads it yet (contract of
    // `install`).
    unsafe { *UPCALLS.0.get() = Some(upcalls) };
    percpu::this().find_system_calls();
}

/// The installed half.
#[inline(always)]
pub(crate) fn upcalls() -> &'static dyn Upcalls {
    // SAFETY: no writes any more once exceptions can be taken.
    unsafe { (*UPCALLS.0.get()).expect("exception before the handlers are installed") }
}

/// The system calls; none before [`install`].
pub(crate) fn system_calls() -> Option<&'static SystemCalls> {
    // SAFETY: no other CPU runs before the one write.
    unsafe { *UPCALLS.0.get() }.map(|upcalls| upcalls.system_calls())
}
