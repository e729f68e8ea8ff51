//! Sleeping until there is something to do.

use crate::{hcall, irqflags};
use kcore::machine::IrqsOff;

/// Gives the CPU back to the hypervisor until an interrupt comes, and takes
/// that interrupt.
///
/// Interrupts are off again on return. No wake-up is lost: the caller looks for work with
/// interrupts off, so work that comes later leaves an interrupt pending, and H_CEDE with an
/// interrupt pending returns at once. H_CEDE itself turns MSR\[EE\] on; the interrupt is
/// taken inside.
///
/// The exception vectors must be in place.
#[inline]
pub fn cede(_: &mut IrqsOff) {
    // SAFETY: interrupts reach the kernel's own handlers (see above).
    let status = unsafe { hcall::h_cede() };
    irqflags::turn_off();
    // H_CEDE has no error: anything else means that this is no PAPR machine.
    debug_assert_eq!(status, hcall::Status::SUCCESS);
}
