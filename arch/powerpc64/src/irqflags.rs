//! External-interrupt state of this CPU: MSR\[EE\].
//!
//! [`disable`] lends the token [`IrqsOff`], and interrupts come on again only where the token
//! has ended. `mtmsrd` with L=1 writes EE and RI alone and is one instruction. RI is set in all
//! kernel code outside the interrupt prologs and epilogs.

use core::marker::PhantomData;

use kcore::machine::IrqsOff;

use crate::reg::Msr;
use crate::{isa, percpu};

/// Interrupts are off. Dropping it restores their former state. It stays on its CPU.
#[must_use = "interrupts are as before once it is dropped"]
pub struct Disabled {
    were_on: bool,
    _not_send: PhantomData<*mut ()>,
}

impl Disabled {
    /// Restores the former state of interrupts, before the drop. Returns whether they are on.
    ///
    /// # Safety
    /// Nothing but the drop follows.
    #[inline(always)]
    pub unsafe fn restore(&mut self) -> bool {
        let on = core::mem::take(&mut self.were_on);
        if on {
            turn_on();
        }
        on
    }

    /// Runs `f` with the proof.
    #[inline(always)]
    pub fn lend<R>(&self, f: impl FnOnce(&IrqsOff) -> R) -> R {
        // SAFETY: they are off, and `f` can turn them on by an exclusive token only.
        f(&unsafe { already_off() })
    }

    /// Runs `f` with the right to turn interrupts on meanwhile, and to switch.
    ///
    /// # Panics
    /// If interrupts were off before: then another token exists.
    #[inline(always)]
    pub fn lend_mut<R>(&mut self, f: impl FnOnce(&mut IrqsOff) -> R) -> R {
        assert!(self.were_on, "interrupts would come on amid another section");
        // SAFETY: they are off, and no other token exists.
        f(&mut unsafe { already_off() })
    }
}

impl Drop for Disabled {
    #[inline(always)]
    fn drop(&mut self) {
        // SAFETY: this is the drop.
        unsafe { self.restore() };
    }
}

/// Turns interrupts off for as long as the result lives.
#[inline(always)]
pub fn disable() -> Disabled {
    let were_on = are_enabled();
    turn_off();
    Disabled { were_on, _not_send: PhantomData }
}

/// As [`disable`], where they are on.
///
/// # Panics
/// If they are off.
#[inline(always)]
pub fn disable_first() -> Disabled {
    assert!(are_enabled(), "interrupts are off already");
    turn_off();
    Disabled { were_on: true, _not_send: PhantomData }
}

/// As [`disable`], where they are off.
#[inline(always)]
pub fn disable_again(_: &IrqsOff) -> Disabled {
    Disabled { were_on: false, _not_send: PhantomData }
}

/// The proof where interrupts are off without a [`Disabled`].
///
/// # Safety
/// Interrupts are off, and stay off for as long as the token is used.
#[inline(always)]
#[must_use]
pub unsafe fn already_off() -> IrqsOff {
    // SAFETY: the caller's promise; without interrupts we stay on this CPU.
    unsafe { IrqsOff::new(percpu::cpu_id()) }
}

/// Turns interrupts on for good. The caller holds no lock that a handler takes.
#[inline(always)]
pub fn enable(_: IrqsOff) {
    turn_on();
}

/// Runs `f` with interrupts on. It may end on another CPU; `off` is then the proof for that
/// one.
#[inline(always)]
pub fn enabled_while<R>(off: &mut IrqsOff, f: impl FnOnce() -> R) -> R {
    turn_on();
    let result = f();
    turn_off();
    // SAFETY: we have just turned them off.
    *off = unsafe { already_off() };
    result
}

#[inline(always)]
pub(crate) fn turn_on() {
    // SAFETY: handlers run on the same stack and leave every register as it was.
    // What they may find locked is the caller's rule, and a dead-lock, not unsafe.
    unsafe { isa::mtmsrd_ee_ri((Msr::EE | Msr::RI).bits()) };
}

#[inline(always)]
pub(crate) fn turn_off() {
    // SAFETY: fewer interrupts never break exclusion.
    unsafe { isa::mtmsrd_ee_ri(Msr::RI.bits()) };
}

/// Are interrupts on?
#[inline(always)]
#[must_use]
pub fn are_enabled() -> bool {
    isa::mfmsr() & Msr::EE.bits() != 0
}
