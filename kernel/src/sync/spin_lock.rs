//! The spin lock for code that no interrupt handler shares.

use core::ops::{Deref, DerefMut};

use spin::mutex::{SpinMutex, SpinMutexGuard};

use super::SpinWait;
use crate::sync::preempt::{self, PreemptGuard};

/// A spin lock; preemption is off while it is held, or a preempted holder would
/// leave others spinning for a time slice. Never taken in an interrupt handler.
pub(crate) struct SpinLock<T> {
    name: &'static str,
    inner: SpinMutex<T>,
}

impl<T> SpinLock<T> {
    /// An unlocked lock around `value`; `name` is what a deadlock report says.
    pub(crate) const fn new(name: &'static str, value: T) -> Self {
        Self { name, inner: SpinMutex::new(value) }
    }

    /// Takes the lock. Any context but an interrupt handler.
    #[inline]
    pub(crate) fn lock(&self) -> SpinGuard<'_, T> {
        let preempt = preempt::disable();
        let mut wait = SpinWait::new(self.name);
        loop {
            if let Some(inner) = self.inner.try_lock() {
                return SpinGuard { inner, _preempt: preempt };
            }
            wait.turn();
        }
    }
}

/// Proof that a [`SpinLock`] is held.
pub(crate) struct SpinGuard<'a, T> {
    // Declared, so dropped, in this order: the lock first, then preemption.
    inner: SpinMutexGuard<'a, T>,
    _preempt: PreemptGuard,
}

impl<T> Deref for SpinGuard<'_, T> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        &self.inner
    }
}

impl<T> DerefMut for SpinGuard<'_, T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut T {
        &mut self.inner
    }
}
