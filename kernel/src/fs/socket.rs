//! Connected pairs of stream sockets: two pipes, crossed.

use alloc::sync::Arc;

use crate::errno::Errno;
use crate::fs::poll::{Events, PollHead};
use crate::fs::stat::{S_IFSOCK, Stat};
use crate::fs::{File, OpenFlags, pipe};
use crate::mm::user_memory::Cursor;

/// One of the two.
struct Socket {
    /// Where it reads: the other one's outgoing pipe.
    incoming: Arc<dyn File>,
    outgoing: Arc<dyn File>,
}

/// A new pair.
pub(crate) fn pair() -> (Arc<dyn File>, Arc<dyn File>) {
    let head = Arc::new(PollHead::new());
    let (first_in, second_out) = pipe::with_poll_head(head.clone());
    let (second_in, first_out) = pipe::with_poll_head(head);
    let first = Socket { incoming: first_in, outgoing: first_out };
    let second = Socket { incoming: second_in, outgoing: second_out };
    (Arc::new(first), Arc::new(second))
}

impl File for Socket {
    fn read(&self, to: &mut Cursor<'_>, at: u64, flags: OpenFlags) -> Result<(), Errno> {
        self.incoming.read(to, at, flags)
    }

    fn write(&self, from: &mut Cursor<'_>, at: u64, flags: OpenFlags) -> Result<(), Errno> {
        self.outgoing.write(from, at, flags)
    }

    fn stat(&self) -> Stat {
        Stat::anonymous(S_IFSOCK | 0o777)
    }

    /// A peer that is gone is an end of file to read, as in Linux, and no error: that of
    /// the outgoing pipe is for a pipe's writer.
    fn events(&self) -> Events {
        let mut events = self.incoming.events() | self.outgoing.events();
        if events.contains(Events::HUP) {
            events |= Events::IN | Events::RDNORM | Events::RDHUP;
        }
        events - Events::ERR
    }

    /// Shared by both pipes, so that one registration hears of either.
    fn poll_head(&self) -> Option<&PollHead> {
        self.incoming.poll_head()
    }
}
