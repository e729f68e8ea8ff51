//! When the running task may lose its CPU although it did not ask to.
//!
//! The kernel is preemptible: on the way back from an interrupt, and wherever
//! preemption is turned on again. The count is the CPU's; it is 0 at every switch,
//! so it needs no saving.

use core::marker::PhantomData;
use core::sync::atomic::Ordering;

use arch::{irqflags, percpu};
use kcore::machine::IrqsOff;

use super::cpu;
use super::switch::{Leave, leave, schedule};

/// Preemption stays off while it lives. Nests.
pub(crate) struct PreemptGuard {
    _not_send: PhantomData<*mut ()>,
}

/// Turns preemption off. Any context.
#[inline(always)]
pub(crate) fn disable() -> PreemptGuard {
    // SAFETY: the guard takes it back.
    unsafe { percpu::preempt_count_add(1) };
    PreemptGuard { _not_send: PhantomData }
}

impl Drop for PreemptGuard {
    #[inline(always)]
    fn drop(&mut self) {
        // SAFETY: what `disable` added.
        unsafe { percpu::preempt_count_add(-1) };
        reschedule_if_asked();
    }
}

/// Runs `f` with preemption off; if a reschedule is asked for meanwhile, the caller sees to it.
#[inline]
pub(super) fn without(f: impl FnOnce()) {
    let guard = disable();
    f();
    core::mem::forget(guard);
    // SAFETY: what `disable` added.
    unsafe { percpu::preempt_count_add(-1) };
}

/// Whether the running code may be preempted.
pub(crate) fn is_enabled() -> bool {
    percpu::preempt_count() == 0 && irqflags::are_enabled()
}

/// Schedules if somebody has asked this CPU to and it is allowed here.
#[inline(always)]
pub(crate) fn reschedule_if_asked() {
    // If we are moved between finding the area and reading it, we were scheduled.
    if percpu::this().work_pending() {
        reschedule_if_allowed();
    }
}

#[cold]
fn reschedule_if_allowed() {
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
    // First the flag, then what it stands for: who sets either meanwhile sends an
    // interrupt, which comes when they are on again.
    percpu::this().clear_work();
    preempt_from_interrupt(off);
    super::current().pending.load(Ordering::Relaxed)
}
