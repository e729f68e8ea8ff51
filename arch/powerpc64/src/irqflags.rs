//! External-interrupt state of this CPU: MSR\[EE\].
//!
//! `mtmsrd` with L=1 writes EE and RI alone and is one instruction. RI is set
//! in all kernel code outside the interrupt prologs and epilogs.

use crate::isa;
use crate::reg::Msr;

/// Turns interrupts off. Returns whether they were on, for [`restore`].
#[inline(always)]
pub fn disable() -> bool {
    let were_on = are_enabled();
    // SAFETY: fewer interrupts never break exclusion.
    unsafe { isa::mtmsrd_ee_ri(Msr::RI.bits()) };
    were_on
}

/// Turns interrupts on. The caller holds no lock that a handler takes.
#[inline(always)]
pub fn enable() {
    // SAFETY: handlers run on the same stack and leave every register as it was.
    // What they may find locked is the caller's rule, and a dead-lock, not unsafe.
    unsafe { isa::mtmsrd_ee_ri((Msr::EE | Msr::RI).bits()) };
}

/// Undoes one [`disable`].
#[inline(always)]
pub fn restore(were_on: bool) {
    if were_on {
        enable();
    }
}

/// Are interrupts on?
#[inline(always)]
#[must_use]
pub fn are_enabled() -> bool {
    isa::mfmsr() & Msr::EE.bits() != 0
}
