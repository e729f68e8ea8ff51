//! The spin lock for what interrupt handlers share.

use core::ops::{Deref, DerefMut};

use arch::irqflags;
use spin::mutex::{SpinMutex, SpinMutexGuard};

use super::SpinWait;
use crate::sync::preempt;

/// A spin lock; interrupts are off while it is held, so a handler on the same
/// CPU cannot wait for the code that it interrupted.
pub(crate) struct IrqLock<T> {
    name: &'static str,
    inner: SpinMutex<T>,
}

impl<T> IrqLock<T> {
    /// An unlocked lock around `value`; `name` is what a deadlock report says.
    pub(crate) const fn new(name: &'static str, value: T) -> Self {
        Self { name, inner: SpinMutex::new(value) }
    }

    /// Takes the lock. Any context.
    #[inline]
    pub(crate) fn lock(&self) -> IrqGuard<'_, T> {
        let irqs = irqflags::disable();
        let mut wait = SpinWait::new(self.name);
        loop {
            if let Some(inner) = self.inner.try_lock() {
                return IrqGuard { inner, _irqs: irqs, _then: Reschedule };
            }
            wait.turn();
        }
    }
}

/// Proof that an [`IrqLock`] is held.
pub(crate) struct IrqGuard<'a, T> {
    // Declared, so dropped, in this order: the lock first, then interrupts.
    inner: SpinMutexGuard<'a, T>,
    _irqs: irqflags::Disabled,
    _then: Reschedule,
}

impl<T> Deref for IrqGuard<'_, T> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        &self.inner
    }
}

impl<T> DerefMut for IrqGuard<'_, T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut T {
        &mut self.inner
    }
}

/// A reschedule asked for inside the section came without an interrupt if this CPU asked
/// itself: dropping it makes up for that, if interrupts are on now.
struct Reschedule;

impl Drop for Reschedule {
    #[inline(always)]
    fn drop(&mut self) {
        preempt::reschedule_if_asked();
    }
}
