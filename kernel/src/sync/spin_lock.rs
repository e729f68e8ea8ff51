//! The spin lock, and the section that lasts while it is held.

use core::marker::PhantomData;
use core::ops::{Deref, DerefMut};

use arch::irqflags;
use kcore::machine::IrqsOff;
use spin::mutex::{SpinMutex, SpinMutexGuard};

use super::SpinWait;
use super::preempt::{self, PreemptGuard};

/// The spin lock for data that no interrupt handler uses. Preemption is off while it is held: a
/// preempted holder would leave others spinning for a time slice. Never taken in an interrupt
/// handler.
pub(crate) type SpinLock<T> = Lock<T, PreemptGuard>;

/// The spin lock for data that interrupt handlers use too. Interrupts are off while it is held, so
/// a handler on the same CPU cannot wait for the code that it interrupted. Any context.
pub(crate) type IrqLock<T> = Lock<T, IrqSection>;

/// Proof that a [`SpinLock`] is held.
pub(crate) type SpinGuard<'a, T> = Guard<'a, T, PreemptGuard>;
/// Proof that an [`IrqLock`] is held.
pub(crate) type IrqGuard<'a, T> = Guard<'a, T, IrqSection>;

/// Turns something off; dropping it restores the state before.
pub(crate) trait Section {
    /// From here on; any context.
    fn begin() -> Self;
}

impl Section for PreemptGuard {
    #[inline(always)]
    fn begin() -> Self {
        preempt::disable()
    }
}

/// Interrupts are off.
pub(crate) struct IrqSection(irqflags::Disabled);

impl IrqSection {
    /// Turns interrupts off, which are on.
    #[inline(always)]
    pub(crate) fn begin_first() -> Self {
        Self(irqflags::disable_first())
    }

    /// Runs `f` with the proof of it.
    #[inline(always)]
    pub(crate) fn lend<R>(&self, f: impl FnOnce(&IrqsOff) -> R) -> R {
        self.0.lend(f)
    }

    /// Runs `f` with the right to turn interrupts on meanwhile, and to switch. They were on before.
    #[inline(always)]
    pub(crate) fn lend_mut<R>(&mut self, f: impl FnOnce(&mut IrqsOff) -> R) -> R {
        self.0.lend_mut(f)
    }
}

impl Section for IrqSection {
    #[inline(always)]
    fn begin() -> Self {
        Self(irqflags::disable())
    }
}

impl Drop for IrqSection {
    #[inline(always)]
    fn drop(&mut self) {
        // SAFETY: this is the drop.
        if unsafe { self.0.restore() } {
            // A request to reschedule that this CPU made of itself inside the section sent no
            // interrupt.
            preempt::reschedule_if_asked();
        }
    }
}

/// Runs `f` with interrupts off, and the proof of it, which spares the locks inside the turning off
/// and on. Any context.
#[inline(always)]
pub(crate) fn with_irqs_off<R>(f: impl FnOnce(&IrqsOff) -> R) -> R {
    IrqSection::begin().0.lend(f)
}

/// A lock, in a section of kind `S`.
pub(crate) struct Lock<T, S> {
    name: &'static str,
    inner: SpinMutex<T>,
    _section: PhantomData<fn() -> S>,
}

impl<T, S: Section> Lock<T, S> {
    /// An unlocked lock around `value`; `name` stands in a deadlock report.
    pub(crate) const fn new(name: &'static str, value: T) -> Self {
        Self { name, inner: SpinMutex::new(value), _section: PhantomData }
    }

    /// Takes the lock.
    #[inline]
    pub(crate) fn lock(&self) -> Guard<'_, T, S> {
        let section = S::begin();
        let inner = self.inner.try_lock().unwrap_or_else(|| self.spin());
        Guard { inner, _section: section }
    }

    #[cold]
    #[inline(never)]
    fn spin(&self) -> SpinMutexGuard<'_, T> {
        let mut wait = SpinWait::new(self.name);
        loop {
            wait.turn();
            if let Some(inner) = self.inner.try_lock() {
                return inner;
            }
        }
    }
}

impl<T> IrqLock<T> {
    /// As [`Lock::lock`], where interrupts are off.
    #[inline]
    pub(crate) fn lock_with(&self, off: &IrqsOff) -> IrqGuard<'_, T> {
        let section = IrqSection(irqflags::disable_again(off));
        let inner = self.inner.try_lock().unwrap_or_else(|| self.spin());
        Guard { inner, _section: section }
    }

    /// As [`Lock::lock`], in a section that outlives the guard.
    #[inline(always)]
    pub(crate) fn lock_within(&self, section: &IrqSection) -> IrqGuard<'_, T> {
        section.lend(|off| self.lock_with(off))
    }
}

impl<T> IrqGuard<'_, T> {
    /// Runs `f` with the value and the proof that interrupts are off.
    #[inline(always)]
    pub(crate) fn with_token<R>(&mut self, f: impl FnOnce(&mut T, &IrqsOff) -> R) -> R {
        self._section.lend(|off| f(&mut self.inner, off))
    }
}

/// Proof that a [`Lock`] is held.
pub(crate) struct Guard<'a, T, S> {
    // Declared, so dropped, in this order: the lock first, then the section.
    inner: SpinMutexGuard<'a, T>,
    _section: S,
}

impl<T, S> Deref for Guard<'_, T, S> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        &self.inner
    }
}

impl<T, S> DerefMut for Guard<'_, T, S> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut T {
        &mut self.inner
    }
}
