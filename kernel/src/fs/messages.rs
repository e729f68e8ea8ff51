//! Connected pairs of sockets that keep the borders of messages: SOCK_DGRAM and
//! SOCK_SEQPACKET of the Unix family.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::errno::Errno;
use crate::fs::poll::{Events, PollHead};
use crate::fs::stat::{S_IFSOCK, Stat};
use crate::fs::{File, OpenFlags};
use crate::mm::heap;
use crate::mm::user_memory::Cursor;
use crate::sync::{SpinLock, WaitQueue};
use crate::upcalls::signal;

/// The two that there are. They differ in what the end of the peer means.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// SOCK_DGRAM: it is not told; writes are refused.
    Datagram,
    /// SOCK_SEQPACKET: an end of file, a broken pipe.
    Sequenced,
}

/// What waits for one socket may take so many bytes (Linux's default SO_SNDBUF).
const CAPACITY: usize = 212_992;
/// What a message takes besides its bytes, so that empty ones are not for free.
const OVERHEAD: usize = 256;
/// The longest message.
const MESSAGE_MAX: usize = CAPACITY - OVERHEAD;

/// What one of the two is sent.
struct Inbox {
    /// Guards the messages. The heap's locks nest inside; no user memory is touched.
    messages: SpinLock<VecDeque<Box<[u8]>>>,
    /// What they take, overhead included: written under the lock.
    used: AtomicUsize,
    /// Nobody will read it, or nobody will write to it.
    reader_gone: AtomicBool,
    writer_gone: AtomicBool,
    not_empty: WaitQueue,
    not_full: WaitQueue,
    /// Told of both inboxes' changes: both have this one.
    poll: Arc<PollHead>,
}

/// One of the two.
struct Socket {
    kind: Kind,
    incoming: Arc<Inbox>,
    outgoing: Arc<Inbox>,
}

/// A new pair.
pub(crate) fn pair(kind: Kind) -> (Arc<dyn File>, Arc<dyn File>) {
    let head = Arc::new(PollHead::new());
    let (one, other) = (Arc::new(Inbox::new(head.clone())), Arc::new(Inbox::new(head)));
    let first = Socket { kind, incoming: one.clone(), outgoing: other.clone() };
    let second = Socket { kind, incoming: other, outgoing: one };
    (Arc::new(first), Arc::new(second))
}

impl Inbox {
    fn new(poll: Arc<PollHead>) -> Self {
        Inbox {
            messages: SpinLock::new("messages", VecDeque::new()),
            used: AtomicUsize::new(0),
            reader_gone: AtomicBool::new(false),
            writer_gone: AtomicBool::new(false),
            not_empty: WaitQueue::new(),
            not_full: WaitQueue::new(),
            poll,
        }
    }

    fn used(&self) -> usize {
        // Relaxed: a wait queue or the lock orders what depends on it.
        self.used.load(Ordering::Relaxed)
    }

    fn has_room(&self, len: usize) -> bool {
        self.used() + len + OVERHEAD <= CAPACITY
    }

    fn push(&self, message: &mut Option<Box<[u8]>>) {
        let mut messages = self.messages.lock();
        if let Some(bytes) = message.take_if(|bytes| self.has_room(bytes.len())) {
            self.used.store(self.used() + bytes.len() + OVERHEAD, Ordering::Relaxed);
            messages.push_back(bytes);
            drop(messages);
            self.not_empty.wake_one();
            self.poll.notify();
        }
    }

    fn pop(&self) -> Option<Box<[u8]>> {
        let mut messages = self.messages.lock();
        let bytes = messages.pop_front()?;
        self.used.store(self.used() - bytes.len() - OVERHEAD, Ordering::Relaxed);
        drop(messages);
        // All: the one that came first may want more room than there is.
        self.not_full.wake_all();
        self.poll.notify();
        Some(bytes)
    }

    fn reader_is_gone(&self) -> bool {
        self.reader_gone.load(Ordering::Relaxed)
    }

    fn writer_is_gone(&self) -> bool {
        // Acquire: pairs with the release in `Socket::drop`: all that it wrote is there.
        self.writer_gone.load(Ordering::Acquire)
    }
}

impl Socket {
    fn at_end(&self) -> bool {
        self.kind == Kind::Sequenced && self.incoming.writer_is_gone()
    }

    /// What a write fails with that nobody can read.
    fn refusal(&self) -> Errno {
        match self.kind {
            Kind::Datagram => Errno::ECONNREFUSED,
            Kind::Sequenced => {
                signal::send_to_current(signal::SIGPIPE);
                Errno::EPIPE
            }
        }
    }
}

impl File for Socket {
    /// One message. What does not fit of it is lost.
    fn read(&self, to: &mut Cursor<'_>, _: u64, flags: OpenFlags) -> Result<(), Errno> {
        // As in Linux, it stays where it is if nothing is wanted of it.
        while to.remaining() > 0 {
            // Before the look at the messages: they are older than the end.
            let at_end = self.at_end();
            if let Some(bytes) = self.incoming.pop() {
                return to.put(&bytes).map(drop);
            }
            if at_end {
                break;
            }
            if flags.contains(OpenFlags::NONBLOCK) {
                return Err(Errno::EAGAIN);
            }
            signal::wait(&self.incoming.not_empty, || self.incoming.used() != 0 || self.at_end())?;
        }
        Ok(())
    }

    /// One message, which may be empty.
    fn write(&self, from: &mut Cursor<'_>, _: u64, flags: OpenFlags) -> Result<(), Errno> {
        let outgoing = &*self.outgoing;
        if outgoing.reader_is_gone() {
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
            outgoing.push(&mut message);
            if message.is_none() {
                from.skip(len);
                return Ok(());
            }
            if flags.contains(OpenFlags::NONBLOCK) {
                return Err(Errno::EAGAIN);
            }
            signal::wait(&outgoing.not_full, || outgoing.has_room(len) || outgoing.reader_is_gone())?;
            if outgoing.reader_is_gone() {
                return Err(self.refusal());
            }
        }
    }

    fn stat(&self) -> Stat {
        Stat::anonymous(S_IFSOCK | 0o777)
    }

    fn events(&self) -> Events {
        let at_end = self.at_end();
        let mut events = Events::empty();
        events.set(Events::IN | Events::RDNORM, self.incoming.used() != 0 || at_end);
        events.set(Events::RDHUP | Events::HUP, at_end);
        // Not for a few bytes (Linux: `unix_writable`).
        events.set(Events::OUT | Events::WRNORM, 4 * self.outgoing.used() <= CAPACITY);
        events
    }

    fn poll_head(&self) -> Option<&PollHead> {
        Some(&self.incoming.poll)
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.incoming.reader_gone.store(true, Ordering::Relaxed);
        self.incoming.not_full.wake_all();
        // Release: pairs with the acquire in `writer_is_gone`.
        self.outgoing.writer_gone.store(true, Ordering::Release);
        self.outgoing.not_empty.wake_all();
        self.incoming.poll.notify();
    }
}
