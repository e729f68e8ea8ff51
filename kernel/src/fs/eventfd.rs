//! Event counters: a number that writers add to and readers take (eventfd2).

use alloc::sync::Arc;
use core::sync::atomic::{AtomicU64, Ordering};

use crate::errno::Errno;
use crate::fs::channel::wait;
use crate::fs::poll::{Events, PollHead};
use crate::fs::stat::Stat;
use crate::fs::{File, OpenFlags};
use crate::mm::user_memory::Cursor;
use crate::task::WaitQueue;

/// The most that the number can be.
const MOST: u64 = u64::MAX - 1;

struct Counter {
    value: AtomicU64,
    /// A read takes 1, not all.
    semaphore: bool,
    /// Readers that wait for more than 0.
    not_zero: WaitQueue,
    /// Writers that wait for room.
    not_full: WaitQueue,
    poll: PollHead,
}

/// A counter at `start`; as a semaphore a read takes 1 from it, else all.
pub(crate) fn new(start: u32, semaphore: bool) -> Arc<dyn File> {
    Arc::new(Counter {
        value: AtomicU64::new(start.into()),
        semaphore,
        not_zero: WaitQueue::new(),
        not_full: WaitQueue::new(),
        poll: PollHead::new(),
    })
}

impl Counter {
    fn value(&self) -> u64 {
        // Relaxed, as all accesses: the number guards no other data; wake-ups have barriers of
        // their own.
        self.value.load(Ordering::Relaxed)
    }

    /// Takes the number that a read returns; `None` if the value is 0.
    fn take(&self) -> Option<u64> {
        let taken = |value: u64| if self.semaphore { value.min(1) } else { value };
        let rest = |value| (value != 0).then(|| value - taken(value));
        self.value.fetch_update(Ordering::Relaxed, Ordering::Relaxed, rest).ok().map(taken)
    }

    /// Whether there was room to add `more`.
    fn add(&self, more: u64) -> bool {
        let sum = |value: u64| value.checked_add(more).filter(|&sum| sum <= MOST);
        self.value.fetch_update(Ordering::Relaxed, Ordering::Relaxed, sum).is_ok()
    }
}

impl File for Counter {
    fn read(&self, to: &mut Cursor<'_>, _: u64, flags: OpenFlags) -> Result<(), Errno> {
        if to.remaining() < size_of::<u64>() {
            return Err(Errno::EINVAL);
        }
        let taken = loop {
            if let Some(taken) = self.take() {
                break taken;
            }
            wait(flags, &self.not_zero, || self.value() != 0)?;
        };
        self.not_full.wake_all();
        self.poll.notify();
        to.put(&taken.to_be_bytes()).map(drop)
    }

    fn write(&self, from: &mut Cursor<'_>, _: u64, flags: OpenFlags) -> Result<(), Errno> {
        let mut more = [0; size_of::<u64>()];
        if from.remaining() < more.len() {
            return Err(Errno::EINVAL);
        }
        from.peek(&mut more)?;
        let more = u64::from_be_bytes(more);
        if more > MOST {
            return Err(Errno::EINVAL);
        }
        while !self.add(more) {
            wait(flags, &self.not_full, || self.value() <= MOST - more)?;
        }
        from.skip(size_of::<u64>());
        self.not_zero.wake_all();
        self.poll.notify();
        Ok(())
    }

    fn stat(&self) -> Stat {
        Stat::anonymous(0o600, 0)
    }

    fn events(&self) -> Events {
        let value = self.value();
        let mut events = Events::empty();
        // Without the equivalents `RDNORM` and `WRNORM`, as in Linux.
        events.set(Events::IN, value != 0);
        events.set(Events::OUT, value < MOST);
        events
    }

    fn poll_head(&self) -> Option<&PollHead> {
        Some(&self.poll)
    }
}
