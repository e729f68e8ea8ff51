//! Checks in test builds: user pages are closed to the kernel in every handler, on the
//! way in and out, and interrupted code gets back the AMR that its address requires.
//! QEMU looks at the AMR only when it fills its TLB, so without these checks a kernel
//! that leaves it open would run on.

use super::frame::TrapFrame;
use crate::isa;
use crate::reg::{AMR_CLOSED, AMR_OPEN, IAMR_KERNEL_NO_EXEC, spr};
use crate::uaccess;
use core::sync::atomic::{AtomicU64, Ordering};

/// Interrupts that came in the middle of a user copy, on any CPU.
static INTERRUPTED: AtomicU64 = AtomicU64::new(0);
/// Interrupts of a user copy after which the CPU had something to schedule.
static PREEMPTED: AtomicU64 = AtomicU64::new(0);

/// How many user copies were interrupted since the machine started, and after how many
/// of these interrupts a reschedule was due.
#[must_use]
pub fn interrupted_copies() -> (u64, u64) {
    (INTERRUPTED.load(Ordering::Relaxed), PREEMPTED.load(Ordering::Relaxed))
}

/// Counts an interrupt; `reschedules` if a reschedule is due.
pub(super) fn count(frame: &TrapFrame, reschedules: bool) {
    if !frame.is_user() && uaccess::fixup_of(frame.nip).is_some() {
        INTERRUPTED.fetch_add(1, Ordering::Relaxed);
        PREEMPTED.fetch_add(reschedules.into(), Ordering::Relaxed);
    }
}

/// Checks that user pages are closed to the kernel at this moment.
///
/// # Panics
/// If they are open.
pub fn check_closed() {
    let (amr, iamr) = (isa::mfspr::<{ spr::AMR }>(), isa::mfspr::<{ spr::IAMR }>());
    assert!(amr == AMR_CLOSED, "the AMR is {amr:#x} outside of a user copy");
    assert!(iamr == IAMR_KERNEL_NO_EXEC, "the IAMR is {iamr:#x} outside of a user copy");
}

/// [`check_closed`], and checks the interrupted code's AMR: open where a user copy
/// accesses, closed outside of the copies.
pub(super) fn check(frame: &TrapFrame) {
    check_closed();
    let (nip, amr) = (frame.nip, frame.amr);
    let good = match () {
        // The AMR does not rule user mode, which enters and leaves with it closed.
        () if frame.is_user() => true,
        () if uaccess::fixup_of(nip).is_some() => amr == AMR_OPEN,
        // This code opens it or closes it.
        () if uaccess::text().contains(&nip) => amr == AMR_OPEN || amr == AMR_CLOSED,
        () => amr == AMR_CLOSED,
    };
    assert!(good, "the code at {nip:#x} was interrupted with the AMR {amr:#x}");
}
