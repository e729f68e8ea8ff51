//! The lock whose waiters sleep.

use core::cell::UnsafeCell;
use core::ops::{Deref, DerefMut};
use core::sync::atomic::{AtomicU32, Ordering};

use arch::percpu;
use kcore::cpu::{CpuId, MAX_CPUS};

use super::cpu;
use super::wait_queue::WaitQueue;
use super::window::Window;

/// Free.
const FREE: u32 = 0;
/// Held, and no task waits.
const HELD: u32 = 1;
/// Held, and a task may be waiting: the unlock wakes one.
const CONTENDED: u32 = 2;

/// The most turns that a waiter spins, of ten instructions or so: several short sections.
const SPIN_TURNS: u32 = 2000;
/// Turns between two looks at the holder, whose CPU writes the line that is looked at.
const TURNS_PER_LOOK: u32 = 16;

/// A sleeping lock: one atomic operation to take it and one to give it back when no task waits.
/// One who waits spins for a while if the holder runs, and only reads meanwhile. Task context
/// only, with interrupts and preemption on.
#[repr(C)]
pub(crate) struct Mutex<T> {
    state: AtomicU32,
    /// The [`mark`] of the last holder. Only a hint.
    holder: AtomicU32,
    value: UnsafeCell<T>,
    waiters: WaitQueue,
}

// SAFETY: the value is reached only through a guard, and there is one at a time.
unsafe impl<T: Send> Sync for Mutex<T> {}

impl<T> Mutex<T> {
    /// An unlocked lock around `value`.
    pub(crate) const fn new(value: T) -> Self {
        Self {
            state: AtomicU32::new(FREE),
            holder: AtomicU32::new(0),
            value: UnsafeCell::new(value),
            waiters: WaitQueue::new(),
        }
    }

    /// Takes the lock; sleeps while another task has it.
    #[inline]
    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.try_lock().unwrap_or_else(|| self.lock_slow())
    }

    /// Takes the lock if it is free.
    #[inline]
    pub(crate) fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        // F39 acquire: orders the taken lock before the accesses in our section. Partner: `drop`.
        self.state
            .compare_exchange(FREE, HELD, Ordering::Acquire, Ordering::Relaxed)
            .is_ok()
            .then(|| self.taken())
    }

    /// The guard of the current task, which has taken the lock.
    #[inline]
    fn taken(&self) -> MutexGuard<'_, T> {
        self.holder.store(mark(percpu::current_task(), percpu::cpu_id()), Ordering::Relaxed);
        MutexGuard { mutex: self }
    }

    #[cold]
    fn lock_slow(&self) -> MutexGuard<'_, T> {
        if let Some(guard) = self.spin() {
            return guard;
        }
        // CONTENDED even if we get it at once: others may be waiting. If none is, the unlock makes
        // one needless wake-up. F39 acquire: orders the taken lock before the accesses in our section.
        // Partner: `drop`.
        self.waiters.wait_until(|| self.state.swap(CONTENDED, Ordering::Acquire) == FREE);
        self.taken()
    }

    /// Takes the lock if it becomes free while the holder runs, and before long. No wake-up is
    /// lost by that: it is a [`Mutex::try_lock`], and a task that sleeps meanwhile was woken by
    /// the unlock, or marks the lock as contended again.
    fn spin(&self) -> Option<MutexGuard<'_, T>> {
        for turn in 0..SPIN_TURNS {
            if self.state.load(Ordering::Relaxed) == FREE {
                if let Some(guard) = self.try_lock() {
                    return Some(guard);
                }
            } else if turn % TURNS_PER_LOOK == 0 && !self.holder_runs() || percpu::this().work_pending() {
                return None;
            }
        }
        None
    }

    /// Whether the holder runs on the CPU where it took the lock. A hint.
    fn holder_runs(&self) -> bool {
        let holder = self.holder.load(Ordering::Relaxed);
        let cpu = CpuId::new(holder as usize % MAX_CPUS);
        mark(cpu::area_of(cpu).current(), cpu) == holder
    }
}

/// Names a task that runs on a CPU. Another task may have the same mark: half of the address is cut
/// off.
#[inline]
fn mark(task: *const (), cpu: CpuId) -> u32 {
    ((task.addr() / align_of::<super::Task>() * MAX_CPUS) | cpu.index()) as u32
}

/// Proof that a [`Mutex`] is held by the current task.
pub(crate) struct MutexGuard<'a, T> {
    mutex: &'a Mutex<T>,
}

impl<T> Drop for MutexGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        // F39 release: orders our section before the free lock. Partners: `try_lock`, `lock_slow`.
        if self.mutex.state.swap(FREE, Ordering::Release) == CONTENDED {
            Window::Unlocked.pass_here();
            self.mutex.waiters.wake_one();
        }
    }
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        // SAFETY: the guard proves that the lock is held.
        unsafe { &*self.mutex.value.get() }
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the guard proves that the lock is held, and it is borrowed
        // mutably, so no other reference comes from it.
        unsafe { &mut *self.mutex.value.get() }
    }
}
