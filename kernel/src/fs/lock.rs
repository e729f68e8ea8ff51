//! Record locks: fcntl's POSIX locks on ranges of bytes.
//!
//! They belong to a process and end with its first close of the file, by any descriptor.

use alloc::vec::Vec;
use core::sync::atomic::{AtomicUsize, Ordering};

use files::lock_ranges::{self as ranges, ADDED, Owner, Range};
use files::lock_waits::Waits;

use crate::errno::Errno;
use crate::memory::heap;
use crate::sync::SpinLock;
use crate::task::WaitQueue;
use crate::upcalls::signal;

/// Nests inside a file's locks; nothing nests inside but the heap's.
static WAITS: SpinLock<Waits> = SpinLock::new("lock waits", Waits::new());

/// The locks of one file.
pub(crate) struct RecordLocks {
    inode: u64,
    /// How many locks are held, so that a close of a file without locks takes none.
    count: AtomicUsize,
    /// Guards the locks. [`WAITS`] and a wake-up's locks nest inside.
    state: SpinLock<State>,
    /// Woken when a wait for one of them has ended.
    ended: WaitQueue,
}

struct State {
    held: Vec<Range>,
    waiters: usize,
}

impl RecordLocks {
    pub(super) const fn new(inode: u64) -> Self {
        let state = SpinLock::new("record locks", State { held: Vec::new(), waiters: 0 });
        RecordLocks { inode, count: AtomicUsize::new(0), state, ended: WaitQueue::new() }
    }

    /// F_GETLK: a lock that keeps `wanted` from being set.
    pub(crate) fn conflict(&self, wanted: &Range) -> Option<Range> {
        ranges::conflict(&self.state.lock().held, wanted).copied()
    }

    /// F_SETLK and, if it may `sleep`, F_SETLKW.
    ///
    /// # Errors
    /// `EAGAIN` if another process has a lock there; of a sleep `EDEADLK`, or the error of a
    /// signal. `ENOLCK`, `ENOMEM`.
    pub(crate) fn lock(&self, wanted: Range, sleep: bool) -> Result<(), Errno> {
        loop {
            self.check_room()?;
            let bytes = WAITS.lock().bytes_to_add();
            heap::check_room(bytes)?;
            let mut state = self.state.lock();
            let Some(other) = ranges::conflict(&state.held, &wanted) else {
                state.reserve()?;
                ranges::set(&mut state.held, wanted);
                self.changed(&state);
                return Ok(());
            };
            if !sleep {
                return Err(Errno::EAGAIN);
            }
            let ticket = WAITS.lock().add(wanted.owner, other.owner, self.inode)?;
            state.waiters += 1;
            drop(state);
            let waited = signal::wait(&self.ended, || WAITS.lock().has_ended(ticket));
            WAITS.lock().end(ticket);
            self.state.lock().waiters -= 1;
            waited?;
        }
    }

    /// F_UNLCK.
    ///
    /// # Errors
    /// `ENOLCK`, `ENOMEM`: a lock is to be cut in two, and there is no memory for that.
    pub(crate) fn unlock(&self, unwanted: &Range) -> Result<(), Errno> {
        self.check_room()?;
        let mut state = self.state.lock();
        state.reserve()?;
        ranges::clear(&mut state.held, unwanted);
        self.changed(&state);
        Ok(())
    }

    /// All locks of `owner` go: it has closed the file.
    #[inline]
    pub(crate) fn closed_by(&self, owner: Owner) {
        // Relaxed: the table's lock orders this. A lock of ours was set before our table gave up
        // the descriptor, or the thread that sets it finds the descriptor gone and takes the lock
        // back.
        if self.count.load(Ordering::Relaxed) != 0 {
            let mut state = self.state.lock();
            state.held.retain(|lock| lock.owner != owner);
            self.changed(&state);
        }
    }

    /// The locks have changed: wakes the waiting tasks to look again.
    fn changed(&self, state: &State) {
        self.count.store(state.held.len(), Ordering::Relaxed);
        if state.waiters > 0 {
            // With our lock held, so that no task is recorded as waiting for a lock that is free
            // already.
            WAITS.lock().end_all(self.inode);
            self.ended.wake_all();
        }
    }

    /// Asks the heap for the room of [`State::reserve`]. Called before the lock.
    fn check_room(&self) -> Result<(), Errno> {
        let held = self.count.load(Ordering::Relaxed);
        heap::check_room(2 * (held + ADDED) * size_of::<Range>())
    }
}

impl State {
    /// Makes room for the ranges that a change can add. `ENOLCK`.
    fn reserve(&mut self) -> Result<(), Errno> {
        self.held.try_reserve(ADDED).map_err(|_| Errno::ENOLCK)
    }
}
