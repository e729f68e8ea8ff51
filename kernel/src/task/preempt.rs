//! Preemption: the running task loses its CPU without having asked to.
//!
//! The kernel is preemptible: on the way back from an interrupt, and wherever
//! preemption is turned on again ([`crate::sync::preempt`]).

use core::sync::atomic::Ordering;

use arch::percpu;
use kcore::machine::IrqsOff;

use super::cpu;
use super::switch::{Leave, leave, schedule};
use crate::sync::preempt::is_enabled;

/// This CPU is asked to schedule, and preemption has just been turned on: schedules,
/// unless an outer section forbids it.
#[cold]
pub(crate) fn reschedule_if_allowed() {
    if is_enabled() && wants_resched() {
        leave(Leave::Yield);
    }
}

fn wants_resched() -> bool {
    cpu::try_this().is_some_and(|cpu| cpu.need_resched.is_made())
}

/// The way back from an interrupt into the kernel, with the work flag set.
pub(crate) fn preempt_from_interrupt(off: &mut IrqsOff) {
    while percpu::preempt_count() == 0 && wants_resched() {
        schedule(Leave::Yield, off);
    }
}

/// The way back to user mode, with the work flag set: schedules if asked, and
/// returns the bits of [`super::pending`] that the current task has to answer.
pub(crate) fn prepare_user_return(off: &mut IrqsOff) -> u32 {
    // First the flag, then the requests behind it: a CPU that makes a request meanwhile sends an
    // interrupt, which arrives when interrupts are on again.
    percpu::this().clear_work();
    preempt_from_interrupt(off);
    super::current().pending.load(Ordering::Relaxed)
}
