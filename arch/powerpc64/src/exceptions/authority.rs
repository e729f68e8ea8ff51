//! In test builds: user pages are closed to the kernel in every handler, on the way in and
//! out, and what a handler returns to has the AMR that its place in the code asks for.
//! QEMU looks at the AMR only when it fills its TLB, so a kernel that leaves it open
//! would go on.

use super::frame::TrapFrame;
use crate::isa;
use crate::reg::{AMR_CLOSED, AMR_OPEN, IAMR_KERNEL_NO_EXEC, spr};
use crate::uaccess;
use core::sync::atomic::{AtomicU64, Ordering};

/// Interrupts that came in the middle of a user copy, on any CPU.
static INTERRUPTED: AtomicU64 = AtomicU64::new(0);
/// Those after which the copy's CPU had something to schedule.
static PREEMPTED: AtomicU64 = AtomicU64::new(0);

/// How many user copies were interrupted, and how many then maybe preempted, since the
/// machine started.
#[must_use]
pub fn interrupted_copies() -> (u64, u64) {
    (INTERRUPTED.load(Ordering::Relaxed), PREEMPTED.load(Ordering::Relaxed))
}

/// Counts an interrupt; `reschedules` if one is due.
pub(super) fn count(frame: &TrapFrame, reschedules: bool) {
    if !frame.is_user() && uaccess::fixup_of(frame.nip).is_some() {
        INTERRUPTED.fetch_add(1, Ordering::Relaxed);
        PREEMPTED.fetch_add(reschedules.into(), Ordering::Relaxed);
    }
}

/// User pages are closed to the kernel at this moment.
///
/// # Panics
/// If not.
pub fn check_closed() {
    let (amr, iamr) = (isa::mfspr::<{ spr::AMR }>(), isa::mfspr::<{ spr::IAMR }>());
    assert!(amr == AMR_CLOSED, "the AMR is {amr:#x} outside of a user copy");
    assert!(iamr == IAMR_KERNEL_NO_EXEC, "the IAMR is {iamr:#x} outside of a user copy");
}

/// That, and the interrupted code gets the AMR that it had to have: open where a user
/// copy accesses, closed outside of the copies.
pub(super) fn check(frame: &TrapFrame) {
    check_closed();
    let (nip, amr) = (frame.nip, frame.amr);
    let good = match () {
        // User mode does not feel it, and enters and leaves with it closed.
        () if frame.is_user() => true,
        () if uaccess::fixup_of(nip).is_some() => amr == AMR_OPEN,
        // About to open it, or to close it.
        () if uaccess::text().contains(&nip) => amr == AMR_OPEN || amr == AMR_CLOSED,
        () => amr == AMR_CLOSED,
    };
    assert!(good, "the code at {nip:#x} was interrupted with the AMR {amr:#x}");
}
