//! Waiting for several files at once.
//!
//! A file whose readiness changes has a [`PollHead`]. poll registers the calling thread with each
//! head, looks at each file, sleeps until a head wakes it, and looks again. A head without
//! pollers, the usual case, costs a barrier and a load.

use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, Ordering, fence};

use crate::sync::SpinLock;
use crate::task::TaskRef;

bitflags::bitflags! {
    /// The requests and answers of poll: Linux's `POLL` bits.
    #[derive(Clone, Copy, PartialEq, Eq)]
    pub(crate) struct Events: u16 {
        /// A read would not block.
        const IN = 0x1;
        /// Something exceptional; no file here has that.
        const PRI = 0x2;
        /// A write would not block.
        const OUT = 0x4;
        /// A write would fail: no reader is left.
        const ERR = 0x8;
        /// No writer is left.
        const HUP = 0x10;
        /// No such descriptor.
        const NVAL = 0x20;
        /// As IN.
        const RDNORM = 0x40;
        /// As OUT.
        const WRNORM = 0x100;
        /// The peer of a socket writes no more.
        const RDHUP = 0x2000;
    }
}

/// The threads that poll one file.
pub(crate) struct PollHead {
    /// Length of `pollers`, read without the lock.
    count: AtomicU32,
    /// Guards the list. Run-queue locks nest inside: it is held over wake-ups.
    pollers: SpinLock<Vec<TaskRef>>,
}

impl PollHead {
    /// Without pollers.
    pub(crate) const fn new() -> Self {
        Self { count: AtomicU32::new(0), pollers: SpinLock::new("poll head", Vec::new()) }
    }

    /// Wakes all pollers to look again. The caller has changed the state that
    /// [`File::events`](super::File::events) reads.
    #[inline]
    pub(crate) fn notify(&self) {
        // F33 fence: orders the change before the load of `count`, and before the event of a poller.
        // Partners: `add`, `reset`. Either we see the poller, or it sees the change.
        fence(Ordering::SeqCst);
        if self.count.load(Ordering::Relaxed) != 0 {
            self.notify_slow();
        }
    }

    #[cold]
    fn notify_slow(&self) {
        for poller in self.pollers.lock().iter() {
            if let Some(thread) = &poller.user {
                thread.polled.wake();
            }
        }
    }

    /// Registers `poller`. It must look at the file's state afterwards.
    pub(crate) fn add(&self, poller: TaskRef) {
        let mut pollers = self.pollers.lock();
        pollers.push(poller);
        self.count.store(pollers.len() as u32, Ordering::Relaxed);
        drop(pollers);
        // F33 fence: orders the store to `count` before the poller's look at the state. Partner:
        // `notify`.
        fence(Ordering::SeqCst);
    }

    /// Takes one registration of `poller` away.
    pub(crate) fn remove(&self, poller: &TaskRef) {
        let mut pollers = self.pollers.lock();
        let found = pollers.iter().position(|other| TaskRef::ptr_eq(other, poller));
        let gone = found.map(|at| pollers.swap_remove(at));
        self.count.store(pollers.len() as u32, Ordering::Relaxed);
        drop(pollers);
        drop(gone);
    }
}
