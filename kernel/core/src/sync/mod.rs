//! The one place that knows whether the core runs for real or under loom.
//!
//! Everything that two CPUs can race on is an atomic from here. The protocol uses relaxed
//! accesses and *named fences*, never `SeqCst` accesses: on POWER `fence(SeqCst)` is
//! `sync`, while a `SeqCst` read-modify-write ends in `lwsync` and orders no later load.
//! Loom models fences faithfully, but not `SeqCst` accesses.

#[cfg(not(loom))]
pub use core::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
#[cfg(loom)]
pub use modelled::{AtomicU32, AtomicU64, Ordering, fence};

#[cfg(loom)]
pub(crate) use loom::{thread, thread_local};
#[cfg(loom)]
pub(crate) use modelled::Event;
#[cfg(all(not(loom), any(test, feature = "model")))]
pub(crate) use std::{thread, thread_local};

#[cfg(loom)]
mod modelled;

use core::sync::atomic as native;

/// A statistic of one CPU. Never part of the protocol, so loom does not see it:
/// counting must not multiply the interleavings that it explores.
#[derive(Default)]
#[repr(transparent)]
pub struct Counter(native::AtomicU64);

impl Counter {
    /// A counter at zero.
    pub const fn new() -> Self {
        Self(native::AtomicU64::new(0))
    }

    /// Adds one. Callers are on the counter's own CPU with interrupts off, so a
    /// plain load and store cannot lose an update.
    pub fn bump(&self) {
        self.0.store(self.get() + 1, native::Ordering::Relaxed);
    }

    /// Adds `n` from a context where an interrupt handler of the same CPU may
    /// count as well.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, native::Ordering::Relaxed);
    }

    /// Takes `n` off what was added before.
    pub fn sub(&self, n: u64) {
        self.0.fetch_sub(n, native::Ordering::Relaxed);
    }

    /// Makes it `n`.
    pub fn set(&self, n: u64) {
        self.0.store(n, native::Ordering::Relaxed);
    }

    /// Makes it `n`, if it is less.
    pub fn raise_to(&self, n: u64) {
        self.0.fetch_max(n, native::Ordering::Relaxed);
    }

    /// The present value; another CPU may be counting meanwhile.
    pub fn get(&self) -> u64 {
        self.0.load(native::Ordering::Relaxed)
    }
}

/// A spin lock. It takes a [`PreemptOff`] token, because a holder that is
/// preempted would leave others spinning for a whole time slice.
///
/// [`PreemptOff`]: crate::machine::PreemptOff
pub struct SpinLock<T> {
    #[cfg(not(loom))]
    inner: spin::mutex::SpinMutex<T>,
    #[cfg(loom)]
    inner: loom::sync::Mutex<T>,
}

impl<T: Default> Default for SpinLock<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T> SpinLock<T> {
    /// An unlocked lock around `value`.
    #[cfg(not(loom))]
    pub const fn new(value: T) -> Self {
        Self { inner: spin::mutex::SpinMutex::new(value) }
    }

    /// An unlocked lock around `value`.
    #[cfg(loom)]
    pub fn new(value: T) -> Self {
        Self { inner: loom::sync::Mutex::new(value) }
    }

    /// Runs `f` with the lock held.
    pub fn with<R>(&self, _: &crate::machine::PreemptOff, f: impl FnOnce(&mut T) -> R) -> R {
        #[cfg(not(loom))]
        let mut guard = self.inner.lock();
        #[cfg(loom)]
        let mut guard = self.inner.lock().unwrap();
        f(&mut guard)
    }
}
