//! Connected pairs of sockets that keep the borders of messages: SOCK_DGRAM and
//! SOCK_SEQPACKET of the Unix family.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::errno::Errno;
use crate::fs::OpenFlags;
use crate::fs::channel::{self, Channel, Ends, Pair};
use crate::memory::heap;
use crate::mm::user_memory::Cursor;
use crate::sync::SpinLock;
use crate::task::WaitQueue;

/// The two kinds. They differ in the effect of the peer's end.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// SOCK_DGRAM: reads do not see it; writes are refused.
    Datagram,
    /// SOCK_SEQPACKET: an end of file, a broken pipe.
    Sequenced,
}

/// The most bytes that the messages for one socket take (Linux's default SO_SNDBUF).
const CAPACITY: usize = 212_992;
/// The bytes that a message takes besides its own, so that empty messages are not free.
const OVERHEAD: usize = 256;
/// The longest message.
const MESSAGE_MAX: usize = CAPACITY - OVERHEAD;

/// One direction.
struct Messages {
    kind: Kind,
    ends: Ends,
    writer_gone: AtomicBool,
    /// Readers that wait for a message or for the writer's end.
    not_empty: WaitQueue,
    /// Guards the messages. The heap's locks nest inside; no user memory is touched.
    messages: SpinLock<VecDeque<Box<[u8]>>>,
    /// The bytes that they take, overhead included: written under the lock.
    used: AtomicUsize,
}

/// A new pair.
pub(crate) fn pair(kind: Kind) -> Pair {
    channel::two_way(|ends| Messages {
        kind,
        ends,
        writer_gone: AtomicBool::new(false),
        not_empty: WaitQueue::new(),
        messages: SpinLock::new("messages", VecDeque::new()),
        used: AtomicUsize::new(0),
    })
}

impl Messages {
    fn used(&self) -> usize {
        // Relaxed: a wait queue or the lock orders the accesses that depend on it.
        self.used.load(Ordering::Relaxed)
    }

    fn has_room_for(&self, len: usize) -> bool {
        self.used() + len + OVERHEAD <= CAPACITY
    }

    fn push(&self, message: &mut Option<Box<[u8]>>) {
        let mut messages = self.messages.lock();
        if let Some(bytes) = message.take_if(|bytes| self.has_room_for(bytes.len())) {
            self.used.store(self.used() + bytes.len() + OVERHEAD, Ordering::Relaxed);
            messages.push_back(bytes);
            drop(messages);
            self.not_empty.wake_one();
            self.ends.poll.notify();
        }
    }

    fn pop(&self) -> Option<Box<[u8]>> {
        let mut messages = self.messages.lock();
        let bytes = messages.pop_front()?;
        self.used.store(self.used() - bytes.len() - OVERHEAD, Ordering::Relaxed);
        drop(messages);
        // All: the first in the queue may want more room than is free.
        self.ends.not_full.wake_all();
        self.ends.poll.notify();
        Some(bytes)
    }

    /// The error of a write without a reader.
    fn refusal(&self) -> Errno {
        match self.kind {
            Kind::Datagram => Errno::ECONNREFUSED,
            Kind::Sequenced => channel::broken_pipe(),
        }
    }
}

impl Channel for Messages {
    fn ends(&self) -> &Ends {
        &self.ends
    }

    /// Reads one message. The part that does not fit is lost.
    fn read(&self, to: &mut Cursor<'_>, flags: OpenFlags) -> Result<(), Errno> {
        loop {
            // The last writer may write between our look at an empty channel and its end: the end counts
            // only if the channel is empty after it.
            let at_end = self.at_end();
            if let Some(bytes) = self.pop() {
                return to.put(&bytes).map(drop);
            }
            if at_end {
                return Ok(());
            }
            channel::wait(flags, &self.not_empty, || !self.is_empty() || self.at_end())?;
        }
    }

    /// Writes one message, which may be empty.
    fn write(&self, from: &mut Cursor<'_>, flags: OpenFlags) -> Result<(), Errno> {
        if self.ends.no_reader() {
            return Err(self.refusal());
        }
        let len = from.remaining();
        if len > MESSAGE_MAX {
            return Err(Errno::EMSGSIZE);
        }
        heap::check_room(len + OVERHEAD)?;
        let mut bytes = alloc::vec![0; len].into_boxed_slice();
        from.peek(&mut bytes)?;
        let mut message = Some(bytes);
        loop {
            self.push(&mut message);
            if message.is_none() {
                from.skip(len);
                return Ok(());
            }
            channel::wait(flags, &self.ends.not_full, || self.has_room_for(len) || self.ends.no_reader())?;
            if self.ends.no_reader() {
                return Err(self.refusal());
            }
        }
    }

    fn is_empty(&self) -> bool {
        self.used() == 0
    }

    /// Whether three quarters are free (Linux: `unix_writable`).
    fn has_room(&self) -> bool {
        4 * self.used() <= CAPACITY
    }

    fn at_end(&self) -> bool {
        // F43 acquire: orders the writer's end before the look at the messages. Partner: `end`. A
        // reader that sees the writer gone sees all its writes.
        self.kind == Kind::Sequenced && self.writer_gone.load(Ordering::Acquire)
    }

    fn end(&self) {
        // F43 release: orders the writer's writes before its end. Partner: `at_end`.
        self.writer_gone.store(true, Ordering::Release);
        self.not_empty.wake_all();
    }
}
