//! Preemption off, and on again: while it is off the running code stays on its CPU.
//!
//! The count is the CPU's; it is 0 at every switch, so it needs no saving.

use core::marker::PhantomData;

use arch::{irqflags, percpu};

use crate::upcalls;

/// Preemption stays off while it lives. Nests.
pub(crate) struct PreemptGuard {
    _not_send: PhantomData<*mut ()>,
}

/// Turns preemption off. Any context.
#[inline(always)]
pub(crate) fn disable() -> PreemptGuard {
    // SAFETY: the guard's drop subtracts it again.
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

/// Runs `f` with preemption off; a reschedule that is requested meanwhile is left to the caller.
#[inline]
pub(crate) fn without(f: impl FnOnce()) {
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

/// Schedules if that was requested of this CPU and is allowed here.
#[inline(always)]
pub(crate) fn reschedule_if_asked() {
    // If we move to another CPU between finding the area and reading it, we have been scheduled.
    if percpu::this().work_pending() {
        upcalls::reschedule_if_allowed();
    }
}
