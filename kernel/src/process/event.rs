//! Something that happens once to one waiting thread.

use core::sync::atomic::{AtomicBool, Ordering, fence};

use crate::task::current;
use crate::task::{Interrupted, WaitQueue};

/// An event and its waiters. Before each wait, [`Event::reset`].
pub(crate) struct Event {
    happened: AtomicBool,
    queue: WaitQueue,
}

impl Event {
    /// One that has not happened.
    pub(crate) const fn new() -> Self {
        Self { happened: AtomicBool::new(false), queue: WaitQueue::new() }
    }

    /// From now on it has not happened. A full barrier, before the waiter looks at its condition.
    pub(crate) fn reset(&self) {
        self.happened.store(false, Ordering::Relaxed);
        // F33 fence: orders the reset before the look at the condition. Partner: `notify` of the poll
        // head, between a change of the condition and the look for waiters to wake. The later of the
        // two sees the other.
        fence(Ordering::SeqCst);
    }

    /// Whether it has happened.
    pub(crate) fn has_happened(&self) -> bool {
        // F35 acquire: orders the event before our look at the change. Partner: `wake`.
        self.happened.load(Ordering::Acquire)
    }

    /// It happens. Any context.
    pub(crate) fn wake(&self) {
        // F35 release: orders the change before the event. Partner: `has_happened`.
        self.happened.store(true, Ordering::Release);
        self.queue.wake_all();
    }

    /// Sleeps until it happens or the time base reaches the deadline, if any (`Ok(false)`).
    pub(crate) fn wait(&self, deadline_tb: Option<u64>) -> Result<bool, Interrupted> {
        let done = || self.has_happened();
        match deadline_tb {
            None => self.queue.wait_interruptible(done).map(|()| true),
            Some(deadline_tb) => self.queue.wait_interruptible_deadline(done, deadline_tb),
        }
    }

    /// Sleeps until it happens, or the current thread is to end.
    pub(crate) fn wait_killable(&self) {
        self.queue.wait_until(|| self.has_happened() || current().killed());
    }
}
