//! Finds the cause of an exception and calls the kernel's half.
//!
//! `entry.S` calls all functions here with interrupts off, except [`syscall_end`]. The
//! functions of system calls it calls itself.
//! They return with interrupts off, or leave that to the exit path, which
//! turns them off first.

#[cfg(feature = "checks")]
use super::authority;
use super::frame::TrapFrame;
use super::upcalls::{Fault, FaultCause, KernelFault, Outcome, UserFault, upcalls};
use crate::addr::VirtAddr;
use crate::irqflags;
use crate::percpu::{STACK_SIZE, STACK_SLOT};
use crate::reg::{Dsisr, srr1_program};
use crate::uaccess;
use kcore::machine::IrqsOff;

/// Set by the entry code: the frame is on the emergency stack.
pub(super) const OVERFLOW: u64 = 2;
/// Bits of SRR1 that give a cause and are no part of the MSR.
const SRR1_CAUSE: u64 = 0x783f_0000;

/// In test builds: see [`authority::check`].
#[inline(always)]
fn check(frame: &TrapFrame) {
    #[cfg(feature = "checks")]
    authority::check(frame);
    let _ = frame;
}

/// In test builds: see [`authority::check_closed`].
#[inline(always)]
fn check_closed() {
    #[cfg(feature = "checks")]
    authority::check_closed();
}

/// The proof that the exception has turned interrupts off.
#[inline(always)]
fn entered() -> IrqsOff {
    // SAFETY: so `entry.S` calls us, and what turns them on ends the token first.
    unsafe { irqflags::already_off() }
}

/// A system call has ended with a whole frame. Interrupts are on.
pub(super) extern "C" fn syscall_end(frame: &mut TrapFrame, value: u64, errno: u64) {
    upcalls().syscall_end(frame, Outcome { value, errno });
    check(frame);
}

/// The check of a system call on the way in and out, in test builds.
pub(super) extern "C" fn syscall_check(frame: &TrapFrame) {
    check(frame);
}

/// 0x500 and 0x900.
pub(super) extern "C" fn irq(frame: &mut TrapFrame, vector: u64) {
    if vector & OVERFLOW != 0 {
        upcalls().kernel_fault(frame, KernelFault::StackOverflow);
    }
    check(frame);
    if vector == 0x900 {
        upcalls().timer();
    } else {
        upcalls().interrupt(&entered());
    }
    #[cfg(feature = "checks")]
    authority::count(frame, crate::percpu::this().work_pending());
    check(frame);
}

/// The work flag is set on the way to user mode.
pub(super) extern "C" fn return_to_user(frame: &mut TrapFrame) {
    check(frame);
    upcalls().return_to_user(frame, &mut entered());
    check(frame);
}

/// The work flag is set on the way to kernel code.
pub(super) extern "C" fn preempt() {
    check_closed();
    upcalls().preempt_kernel(&mut entered());
    check_closed();
}

/// 0x100 and 0x200.
pub(super) extern "C" fn nmi(frame: &mut TrapFrame) {
    check_closed();
    if frame.vector() == 0x200 {
        upcalls().kernel_fault(frame, KernelFault::MachineCheck);
    }
    upcalls().nmi(frame);
    if !frame.is_recoverable() {
        upcalls().kernel_fault(frame, KernelFault::Unrecoverable);
    }
}

/// Everything else.
pub(super) extern "C" fn trap(frame: &mut TrapFrame) {
    if frame.overflown() {
        upcalls().kernel_fault(frame, KernelFault::StackOverflow);
    }
    check(frame);
    match frame.vector() {
        0x300 => data_storage(frame),
        0x400 => instruction_storage(frame),
        vector if !frame.is_user() => upcalls().kernel_fault(frame, KernelFault::Exception(vector)),
        vector => user_exception(frame, vector),
    }
    check(frame);
}

fn data_storage(frame: &mut TrapFrame) {
    let dsisr = Dsisr::from_bits_retain(frame.dsisr & 0xffff_ffff);
    let fault = Fault {
        addr: VirtAddr(frame.dar),
        write: dsisr.contains(Dsisr::STORE),
        exec: false,
        cause: cause(dsisr),
    };
    page_fault(frame, fault);
}

fn instruction_storage(frame: &mut TrapFrame) {
    let bits = Dsisr::from_bits_retain(frame.msr & SRR1_CAUSE);
    frame.msr &= !SRR1_CAUSE;
    let fault = Fault { addr: VirtAddr(frame.nip), write: false, exec: true, cause: cause(bits) };
    page_fault(frame, fault);
}

fn cause(bits: Dsisr) -> FaultCause {
    if bits.intersects(Dsisr::PROTFAULT | Dsisr::KEYFAULT | Dsisr::NOEXEC) {
        FaultCause::Protection
    } else if bits.contains(Dsisr::BADCONFIG) {
        FaultCause::BadTree
    } else {
        FaultCause::NotMapped
    }
}

/// A fault from user mode or from a user copy goes to the kernel to resolve. A
/// kernel access to a user address outside the copy code is a bug, whether
/// mapped or not.
fn page_fault(frame: &mut TrapFrame, fault: Fault) {
    if !frame.is_user() {
        kernel_access(frame, fault);
    }
    if frame.irqs_were_on() {
        irqflags::turn_on();
    }
    upcalls().page_fault(frame, fault);
}

/// As [`page_fault`], of the kernel. Returns if it was in a user copy.
#[inline(never)]
fn kernel_access(frame: &TrapFrame, fault: Fault) {
    if frame.hit_guard(fault.addr) {
        // SAFETY: the calls below do not return, so this handler does not go on.
        unsafe { trap_overflow(frame) };
    }
    if !fault.addr.is_user() || uaccess::fixup_of(frame.nip).is_none() {
        upcalls().kernel_fault(frame, KernelFault::Page(fault));
    }
}

unsafe extern "C" {
    /// Calls [`overflow`] on the emergency stack of this CPU. See capture.S.
    fn trap_overflow(frame: &TrapFrame) -> !;
    fn trap_capture(frame: &mut TrapFrame);
}

/// A store of a function's prolog went into the guard. There was room for the
/// frame of the exception, but not for a report.
pub(super) extern "C" fn overflow(frame: &TrapFrame) -> ! {
    upcalls().kernel_fault(frame, KernelFault::StackOverflow)
}

/// An exception from user mode that is no page fault.
fn user_exception(frame: &mut TrapFrame, vector: u64) {
    let srr1 = frame.msr;
    if vector == 0x700 {
        frame.msr &= !SRR1_CAUSE;
    }
    irqflags::turn_on();
    let fault = match vector {
        0x800 | 0xf20 | 0xf40 => return upcalls().fpu_unavailable(frame),
        0x380 => UserFault::Segment(VirtAddr(frame.dar)),
        0x480 => UserFault::Segment(VirtAddr(frame.nip)),
        0x600 => UserFault::Alignment(VirtAddr(frame.dar)),
        0x700 if srr1 & srr1_program::TRAP != 0 => UserFault::Trap,
        0x700 if srr1 & srr1_program::PRIVILEGED != 0 => UserFault::Privileged,
        0x700 if srr1 & srr1_program::FP_ENABLED != 0 => UserFault::FloatingPoint,
        // FSCR is 0: a facility that is off looks to the program like a
        // missing one.
        0x700 | 0xf60 => UserFault::Illegal,
        0xd00 => UserFault::SingleStep,
        vector => UserFault::Unexpected(vector),
    };
    upcalls().user_fault(frame, fault);
}

impl TrapFrame {
    fn overflown(&self) -> bool {
        self.trap & OVERFLOW != 0
    }

    /// Whether `address` is in the guard below the stack that was in use.
    fn hit_guard(&self, address: VirtAddr) -> bool {
        let slot = |address: u64| address & !(STACK_SLOT - 1);
        slot(address.0) == slot(self.gpr[1]) && address.0 & STACK_SIZE == 0
    }

    /// The registers of the caller, for reports.
    #[must_use]
    #[inline(always)]
    pub fn capture() -> Self {
        let mut frame = TrapFrame::default();
        // SAFETY: stores registers in a frame of ours.
        unsafe { trap_capture(&mut frame) };
        frame
    }

    /// If this is a page fault inside a user copy: makes the copy end with an
    /// error instead of trying the access again. Any other frame stays
    /// unchanged, and the result is false.
    #[must_use]
    pub fn fixup(&mut self) -> bool {
        if self.is_user() {
            return false;
        }
        let fixup = uaccess::fixup_of(self.nip);
        if let Some(nip) = fixup {
            self.nip = nip;
        }
        fixup.is_some()
    }
}
