//! Awake or asleep: who may put a task to sleep, and who wakes it.
//!
//! ```text
//!            prepare_to_sleep             schedule (interrupts off)
//!  RUNNING ------------------> PREPARING ------------------> SLEEPING
//!     ^  ^------- wake ------------|                             |
//!     |---------- wake: and the waker queues it -----------------|
//!  RUNNING -- exit --> DEAD
//! ```
//! Each arrow is one compare-and-swap, so exactly one waker gets the last one,
//! and a wake-up between PREPARING and SLEEPING keeps the task awake. A task that
//! is preempted while PREPARING stays queued: only its own `sleep` takes it off.

use core::sync::atomic::{AtomicU32, Ordering, fence};

pub(crate) const RUNNING: u32 = 0;
pub(crate) const PREPARING: u32 = 1;
pub(crate) const SLEEPING: u32 = 2;
pub(crate) const DEAD: u32 = 3;

/// The state of one task. One word; debuggers show it.
#[repr(transparent)]
pub(super) struct RunState(AtomicU32);

/// What a wake-up found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Woken {
    /// It slept: the caller must put it on a run queue.
    MustQueue,
    /// It was about to sleep and now will not.
    StaysAwake,
    /// It was awake (or is dead): nothing changed.
    Nothing,
}

impl RunState {
    pub(super) const fn asleep() -> Self {
        Self(AtomicU32::new(SLEEPING))
    }

    /// The state's name, for reports.
    pub(super) fn name(&self) -> &'static str {
        match self.0.load(Ordering::Relaxed) {
            RUNNING => "running",
            PREPARING => "preparing",
            SLEEPING => "sleeping",
            _ => "dead",
        }
    }

    /// For a task that is running when it is made: the boot's.
    pub(super) fn set_running(&self) {
        self.0.store(RUNNING, Ordering::Relaxed);
    }

    /// By the task itself: the next `sleep` is one, unless somebody wakes it.
    #[inline]
    pub(super) fn prepare(&self) {
        self.0.store(PREPARING, Ordering::Relaxed);
        // The announcement before the look at the condition. Partner: the fence
        // of the waker, between the condition and the look at the state.
        fence(Ordering::SeqCst);
    }

    /// By the task itself: takes `prepare` back.
    #[inline]
    pub(super) fn stay_awake(&self) {
        self.0.store(RUNNING, Ordering::Relaxed);
    }

    /// By the scheduler, for the running task: asleep from here, unless woken.
    /// Whoever wakes it now must wait for `on_cpu` before it runs elsewhere.
    #[inline]
    pub(super) fn fall_asleep(&self) -> bool {
        // Acquire when it fails: what the waker did before. The fence in `prepare`
        // makes it a release too: `on_cpu` = 1 before SLEEPING.
        self.0.compare_exchange(PREPARING, SLEEPING, Ordering::Relaxed, Ordering::Acquire).is_ok()
    }

    /// By anyone. What the wake-up is about is written before.
    #[inline]
    pub(super) fn wake(&self) -> Woken {
        let mut state = self.0.load(Ordering::Relaxed);
        loop {
            let woken = match state {
                PREPARING => Woken::StaysAwake,
                SLEEPING => Woken::MustQueue,
                _ => return Woken::Nothing,
            };
            // Release: what we did before, for the acquire in `fall_asleep`; for
            // a sleeper the run-queue lock orders it. Acquire: who sees SLEEPING
            // also sees `on_cpu` = 1 until the switch away is done.
            match self.0.compare_exchange(state, RUNNING, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return woken,
                Err(now) => state = now,
            }
        }
    }

    /// By the task itself, for its last switch.
    pub(super) fn die(&self) {
        self.0.store(DEAD, Ordering::Relaxed);
    }

    /// Whether the task has made its last switch, or is about to.
    #[inline]
    pub(super) fn is_dead(&self) -> bool {
        self.0.load(Ordering::Relaxed) == DEAD
    }
}
