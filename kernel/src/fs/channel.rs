//! The ends of pipes and of connected pairs of sockets: bytes or messages that go one way, or
//! two.
//!
//! A [`Channel`] carries bytes ([`pipe`](super::pipe)) or messages
//! ([`messages`](super::messages)) from one end to the other. A pipe is one channel, a pair of
//! sockets two that cross. No end is ever opened anew: it is gone with its last description.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, Ordering};

use crate::errno::Errno;
use crate::fs::poll::{Events, PollHead};
use crate::fs::stat::{S_IFIFO, S_IFSOCK, Stat};
use crate::fs::{File, OpenFlags};
use crate::mm::user_memory::Cursor;
use crate::task::WaitQueue;
use crate::upcalls::signal;

/// One direction.
pub(super) trait Channel: Send + Sync + 'static {
    /// The state that its ends share.
    fn ends(&self) -> &Ends;

    /// As [`File::read`], with room for a byte at least.
    fn read(&self, to: &mut Cursor<'_>, flags: OpenFlags) -> Result<(), Errno>;

    /// As [`File::write`].
    fn write(&self, from: &mut Cursor<'_>, flags: OpenFlags) -> Result<(), Errno>;

    fn is_empty(&self) -> bool;

    /// Whether poll reports the channel as writable.
    fn has_room(&self) -> bool;

    /// Whether no writer is left: an empty channel is then at its end for a reader.
    fn at_end(&self) -> bool;

    /// No writer is left. Wakes the readers.
    fn end(&self);
}

/// The state that both ends of a channel share.
pub(super) struct Ends {
    reader_gone: AtomicBool,
    /// Writers that wait for room or for the reader's end.
    pub(super) not_full: WaitQueue,
    /// Notified of both ends' changes; the channels of a pair of sockets share one.
    pub(super) poll: Arc<PollHead>,
}

impl Ends {
    fn new(poll: Arc<PollHead>) -> Self {
        Ends { reader_gone: AtomicBool::new(false), not_full: WaitQueue::new(), poll }
    }

    pub(super) fn no_reader(&self) -> bool {
        self.reader_gone.load(Ordering::Relaxed)
    }
}

/// The error of a write without a reader. The current process gets its signal.
#[cold]
#[inline(never)]
pub(super) fn broken_pipe() -> Errno {
    signal::send_to_current(signal::SIGPIPE);
    Errno::EPIPE
}

/// Waits on `queue` until `done`, as [`signal::wait`] does; `EAGAIN` if `flags` say never to
/// sleep.
pub(super) fn wait(flags: OpenFlags, queue: &WaitQueue, done: impl FnMut() -> bool) -> Result<(), Errno> {
    if flags.contains(OpenFlags::NONBLOCK) { Err(Errno::EAGAIN) } else { signal::wait(queue, done) }
}

/// A program's end of one or two channels.
struct End<C: Channel> {
    /// The channel that it reads.
    incoming: Option<Arc<C>>,
    /// The channel that it writes.
    outgoing: Option<Arc<C>>,
}

/// Two ends, connected.
pub(crate) type Pair = (Arc<dyn File>, Arc<dyn File>);

/// A channel made by `make`: its end to read and its end to write.
pub(super) fn one_way<C: Channel>(make: impl Fn(Ends) -> C) -> Pair {
    let channel = Arc::new(make(Ends::new(Arc::new(PollHead::new()))));
    let to_read = End { incoming: Some(channel.clone()), outgoing: None };
    (Arc::new(to_read), Arc::new(End { incoming: None, outgoing: Some(channel) }))
}

/// Two crossed channels made by `make`: both ends read and write. They share a poll head, so that
/// one registration covers both.
pub(super) fn two_way<C: Channel>(make: impl Fn(Ends) -> C) -> Pair {
    let head = Arc::new(PollHead::new());
    let (one, other) = (Arc::new(make(Ends::new(head.clone()))), Arc::new(make(Ends::new(head))));
    let first = End { incoming: Some(one.clone()), outgoing: Some(other.clone()) };
    (Arc::new(first), Arc::new(End { incoming: Some(other), outgoing: Some(one) }))
}

impl<C: Channel> End<C> {
    fn is_socket(&self) -> bool {
        self.incoming.is_some() && self.outgoing.is_some()
    }
}

impl<C: Channel> File for End<C> {
    fn read(&self, to: &mut Cursor<'_>, _: u64, flags: OpenFlags) -> Result<(), Errno> {
        let channel = self.incoming.as_ref().ok_or(Errno::EINVAL)?;
        if to.remaining() == 0 { Ok(()) } else { channel.read(to, flags) }
    }

    fn write(&self, from: &mut Cursor<'_>, _: u64, flags: OpenFlags) -> Result<(), Errno> {
        self.outgoing.as_ref().ok_or(Errno::EINVAL)?.write(from, flags)
    }

    fn stat(&self) -> Stat {
        Stat::anonymous(if self.is_socket() { S_IFSOCK | 0o777 } else { S_IFIFO | 0o600 }, 0)
    }

    /// A socket whose peer is gone reads an end of file, as in Linux, and has no error.
    fn events(&self) -> Events {
        let mut events = Events::empty();
        if let Some(channel) = &self.incoming {
            let socket_ends = channel.at_end() && self.is_socket();
            events.set(Events::IN | Events::RDNORM, !channel.is_empty() || socket_ends);
            events.set(Events::HUP, channel.at_end());
            events.set(Events::RDHUP, socket_ends);
        }
        if let Some(channel) = &self.outgoing {
            events.set(Events::OUT | Events::WRNORM, channel.has_room());
            events.set(Events::ERR, channel.ends().no_reader() && !self.is_socket());
        }
        events
    }

    fn poll_head(&self) -> Option<&PollHead> {
        self.incoming.as_ref().or(self.outgoing.as_ref()).map(|channel| &*channel.ends().poll)
    }
}

impl<C: Channel> Drop for End<C> {
    fn drop(&mut self) {
        if let Some(channel) = &self.incoming {
            let ends = channel.ends();
            ends.reader_gone.store(true, Ordering::Relaxed);
            ends.not_full.wake_all();
            ends.poll.notify();
        }
        if let Some(channel) = &self.outgoing {
            channel.end();
            channel.ends().poll.notify();
        }
    }
}
