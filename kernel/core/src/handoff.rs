//! The words in memory by which CPUs hand tasks to each other. They say whether a task
//! sleeps, whether its stack is in use, whether tasks wait in a queue, and whether a CPU
//! is asked to schedule.
//!
//! They are no part of the lazy-TLB protocol, which builds on them. They are here so that
//! loom explores the very code that the scheduler runs.
//!
//! ```text
//!            prepare                      fall_asleep (interrupts off)
//!  RUNNING ------------------> PREPARING ------------------> SLEEPING
//!     ^  ^------- wake ------------|                             |
//!     |---------- wake: and the waker queues it -----------------|
//!  RUNNING -- die --> DEAD
//! ```
//! `fall_asleep` and `wake` are one compare-and-swap each. So exactly one waker wakes a
//! task that sleeps, and a wake-up between PREPARING and SLEEPING keeps the task awake. A
//! task that is preempted while PREPARING stays queued: only its own sleep takes it off.

use crate::sync::{AtomicU32, Ordering, fence};

/// It runs or waits for a CPU.
pub const RUNNING: u32 = 0;
/// It runs and is about to sleep. A wake-up before that keeps it awake.
pub const PREPARING: u32 = 1;
/// It sleeps.
pub const SLEEPING: u32 = 2;
/// It has ended.
pub const DEAD: u32 = 3;

/// The state of one task. One word; debuggers show it.
#[repr(transparent)]
pub struct RunState(AtomicU32);

/// What a wake-up found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Woken {
    /// It slept: the caller must put it on a run queue.
    MustQueue,
    /// It was about to sleep and now will not.
    StaysAwake,
    /// It was awake (or is dead): nothing changed.
    Nothing,
}

impl RunState {
    /// That of a new task: it sleeps until its first wake-up.
    pub fn asleep() -> Self {
        Self(AtomicU32::new(SLEEPING))
    }

    /// The state's name, for reports.
    pub fn name(&self) -> &'static str {
        match self.0.load(Ordering::Relaxed) {
            RUNNING => "running",
            PREPARING => "preparing",
            SLEEPING => "sleeping",
            _ => "dead",
        }
    }

    /// For a task that is running when it is made: the boot's.
    pub fn set_running(&self) {
        self.0.store(RUNNING, Ordering::Relaxed);
    }

    /// By the task itself: announces that it is about to sleep. A wake-up from here on
    /// keeps it awake.
    #[inline]
    pub fn prepare(&self) {
        self.0.store(PREPARING, Ordering::Relaxed);
        // F20 fence: orders the announcement before the look at the condition. Partners:
        // `are_there`, and `notify` of a task.
        fence(Ordering::SeqCst);
    }

    /// By the task itself: takes `prepare` back.
    #[inline]
    pub fn stay_awake(&self) {
        self.0.store(RUNNING, Ordering::Relaxed);
    }

    /// By the scheduler, for the running task: it sleeps from here on, unless it was
    /// woken. Returns whether it sleeps. A task that was woken sees what the waker did
    /// before. A waker waits for [`InUse`] before the task runs elsewhere.
    #[inline]
    pub fn fall_asleep(&self) -> bool {
        // F21 acquire: orders the wake-up, if there was one, before what the task does
        // with it. Partner: `wake`. The fence in `prepare` makes this a release too: it
        // orders the stack's word before SLEEPING.
        self.0.compare_exchange(PREPARING, SLEEPING, Ordering::Relaxed, Ordering::Acquire).is_ok()
    }

    /// By any CPU. The waker writes what the wake-up is about before this call.
    #[inline]
    pub fn wake(&self) -> Woken {
        let mut state = self.0.load(Ordering::Relaxed);
        while matches!(state, PREPARING | SLEEPING) {
            // F21 acqrel: orders what the waker did before the wake-up, and SLEEPING
            // before the look at the stack in use. Partner: `fall_asleep`. For a task
            // that sleeps the run-queue lock orders what the waker did.
            match self.0.compare_exchange(state, RUNNING, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(SLEEPING) => return Woken::MustQueue,
                Ok(_) => return Woken::StaysAwake,
                Err(now) => state = now,
            }
        }
        Woken::Nothing
    }

    /// By the task itself, for its last switch.
    pub fn die(&self) {
        self.0.store(DEAD, Ordering::Relaxed);
    }
}

/// Whether a CPU uses a task's stack (`on_cpu` of a task): 1 from before the task runs there until that CPU
/// has left it. One word; debuggers show it.
#[repr(transparent)]
pub struct InUse(AtomicU32);

impl InUse {
    /// That of a task which does not run.
    pub fn free() -> Self {
        Self(AtomicU32::new(0))
    }

    /// By the CPU that is about to switch to the task, which no other CPU can take.
    #[inline]
    pub fn begin(&self) {
        self.0.store(1, Ordering::Relaxed);
    }

    /// By the CPU that has left the task: it no longer touches the task's stack,
    /// registers or mm part.
    #[inline]
    pub fn end(&self) {
        // F22 release: orders what this CPU did with the task before the cleared word.
        // Partner: `is_set`.
        self.0.store(0, Ordering::Release);
    }

    /// Whether a CPU is on the stack. Once none is, the task may run anywhere.
    #[inline]
    pub fn is_set(&self) -> bool {
        // F22 acquire: orders the cleared word before the task's next switch. Partner:
        // `end`.
        self.0.load(Ordering::Acquire) != 0
    }
}

/// How many tasks wait in a queue, so that a waker takes no lock where none does.
#[repr(transparent)]
pub struct Waiters(AtomicU32);

impl Waiters {
    /// No waiter.
    #[cfg(not(loom))]
    pub const fn none() -> Self {
        Self(AtomicU32::new(0))
    }

    /// No waiter.
    #[cfg(loom)]
    pub fn none() -> Self {
        Self(AtomicU32::new(0))
    }

    /// One more. Under the queue's lock; [`RunState::prepare`] follows before the look at
    /// the condition.
    #[inline]
    pub fn add(&self) {
        self.0.store(self.0.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }

    /// One less. Under the queue's lock.
    #[inline]
    pub fn remove(&self) {
        self.0.store(self.0.load(Ordering::Relaxed) - 1, Ordering::Relaxed);
    }

    /// By a waker that has made a condition true: whether a task may wait for it. A task
    /// that comes later finds the condition true.
    #[inline]
    pub fn are_there(&self) -> bool {
        // F20 fence: orders the condition before the look at the queue. Partner: `prepare`.
        fence(Ordering::SeqCst);
        self.0.load(Ordering::Relaxed) != 0
    }
}

/// Whether a waiter was told that its wait is over. The word lies on the stack of the waiter,
/// which returns as soon as it sees the word set.
#[repr(transparent)]
pub struct Told(AtomicU32);

impl Told {
    /// It waits.
    #[inline]
    pub fn not_yet() -> Self {
        Self(AtomicU32::new(0))
    }

    /// By the waiter, before it waits again; under the lock of its queue, and in none.
    #[inline]
    pub fn forget(&self) {
        self.0.store(0, Ordering::Relaxed);
    }

    /// By the waker: the last that it does with what lies on the stack of a waiter that is
    /// awake, and with its task.
    #[inline]
    pub fn tell(&self) {
        // F24 release: orders what the waker did with the waiter before the word. Partner: `is_told`.
        self.0.store(1, Ordering::Release);
    }

    /// By the waiter, and under the lock of its queue by anyone.
    #[inline]
    pub fn is_told(&self) -> bool {
        // F24 acquire: orders the word before the end of what lies on the stack. Partner: `tell`.
        self.0.load(Ordering::Acquire) != 0
    }
}

/// A CPU is asked to schedule. Every CPU may ask, and the CPU itself takes the request.
#[repr(transparent)]
pub struct Request(AtomicU32);

impl Request {
    /// Nothing is asked.
    pub fn none() -> Self {
        Self(AtomicU32::new(0))
    }

    /// Asks. The caller writes what the request is about before, and afterwards
    /// interrupts the CPU, so that it looks.
    #[inline]
    pub fn make(&self) {
        // F23 release: orders what the request is about before the request. Partner:
        // `take`. A swap: with a store, the CPU that takes our request would not see what
        // an earlier request, which ours overwrites, is about.
        self.0.swap(1, Ordering::Release);
    }

    /// Whether there is a request. A hint, except in the handler of the interrupt that
    /// follows it.
    #[inline]
    pub fn is_made(&self) -> bool {
        self.0.load(Ordering::Relaxed) != 0
    }

    /// By the CPU itself: takes the request, and sees what it is about. A later one stays
    /// for the next time.
    #[inline]
    pub fn take(&self) {
        // F23 acquire: orders the request before the look at what it is about. Partner:
        // `make`. One step: a store after the look would lose a request that came in between.
        if self.is_made() {
            self.0.swap(0, Ordering::Acquire);
        }
    }

    /// Forgets what was asked of the CPU before it went offline.
    pub fn forget(&self) {
        self.0.store(0, Ordering::Relaxed);
    }
}
