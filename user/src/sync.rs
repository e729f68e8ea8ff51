//! Mutex, condition variable and barrier, on futexes.

use core::cell::UnsafeCell;
use core::ops::{Deref, DerefMut};
use core::sync::atomic::{AtomicU32, Ordering};

use crate::futex;

const FREE: u32 = 0;
const HELD: u32 = 1;
/// Held, and a thread may sleep: the thread that unlocks must wake it.
const CONTENDED: u32 = 2;

/// A lock around a value. Sleeps when it has to wait; not fair.
pub struct Mutex<T> {
    state: AtomicU32,
    value: UnsafeCell<T>,
}

// SAFETY: the value is reached by one holder at a time.
unsafe impl<T: Send> Sync for Mutex<T> {}

impl<T> Mutex<T> {
    /// A free lock around `value`.
    pub const fn new(value: T) -> Self {
        Self { state: AtomicU32::new(FREE), value: UnsafeCell::new(value) }
    }

    /// Waits for the lock.
    pub fn lock(&self) -> Guard<'_, T> {
        // Acquire pairs with the release in `Guard::drop`: we see what the
        // holder before us wrote.
        let free = self.state.compare_exchange(FREE, HELD, Ordering::Acquire, Ordering::Relaxed);
        if free.is_err() {
            // We cannot know whether others sleep, so we hold it as contended:
            // at worst one wake-up too many. Acquire pairs with
            // `Guard::drop`'s release.
            while self.state.swap(CONTENDED, Ordering::Acquire) != FREE {
                let _ = futex::wait(&self.state, CONTENDED, None);
            }
        }
        Guard(self)
    }
}

/// A held lock; dropping it unlocks.
pub struct Guard<'a, T>(&'a Mutex<T>);

impl<T> Deref for Guard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: we hold the lock.
        unsafe { &*self.0.value.get() }
    }
}

impl<T> DerefMut for Guard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: we hold the lock.
        unsafe { &mut *self.0.value.get() }
    }
}

impl<T> Drop for Guard<'_, T> {
    fn drop(&mut self) {
        // Release pairs with the acquires in `Mutex::lock`.
        if self.0.state.swap(FREE, Ordering::Release) == CONTENDED {
            futex::wake(&self.0.state, 1);
        }
    }
}

/// Waits for a change of the value that a [`Mutex`] guards.
pub struct Condvar {
    /// Counts notifications, so that one between unlock and sleep is not lost.
    sequence: AtomicU32,
}

impl Condvar {
    /// A condition without waiters.
    #[must_use]
    pub const fn new() -> Self {
        Self { sequence: AtomicU32::new(0) }
    }

    /// Unlocks, sleeps until notified, locks again. May return without cause.
    pub fn wait<'a, T>(&self, guard: Guard<'a, T>) -> Guard<'a, T> {
        let mutex = guard.0;
        // Relaxed: read under the lock. The notifier changed the guarded value
        // later, under this lock, and counts after that: so we see the count
        // before its own.
        let sequence = self.sequence.load(Ordering::Relaxed);
        drop(guard);
        let _ = futex::wait(&self.sequence, sequence, None);
        mutex.lock()
    }

    /// Wakes all waiters. The value was changed under the lock before.
    pub fn notify_all(&self) {
        // Relaxed: the futex call orders it against the sleepers' check.
        self.sequence.fetch_add(1, Ordering::Relaxed);
        futex::wake_all(&self.sequence);
    }
}

impl Default for Condvar {
    fn default() -> Self {
        Self::new()
    }
}

/// Holds threads until all of them have come.
pub struct Barrier {
    state: Mutex<Arrivals>,
    all_here: Condvar,
    threads: usize,
}

struct Arrivals {
    missing: usize,
    /// How many rounds are over: shows a waiter that its round is.
    round: usize,
}

impl Barrier {
    /// For `threads` threads.
    #[must_use]
    pub const fn new(threads: usize) -> Self {
        Self { state: Mutex::new(Arrivals { missing: threads, round: 0 }), all_here: Condvar::new(), threads }
    }

    /// Returns when every thread has called it. It can be used again at once.
    pub fn wait(&self) {
        let mut state = self.state.lock();
        let round = state.round;
        state.missing -= 1;
        if state.missing == 0 {
            state.missing = self.threads;
            state.round += 1;
            drop(state);
            self.all_here.notify_all();
            return;
        }
        while state.round == round {
            state = self.all_here.wait(state);
        }
    }
}
