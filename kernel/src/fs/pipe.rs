//! Pipes: a ring of 64K between writers and readers.
//!
//! Bytes are copied once in and once out, in runs as long as a page of the ring
//! allows. An empty pipe starts over at the beginning of its page, so one that
//! never holds more than a page uses one page.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use arch::addr::PAGE_SIZE;

use crate::errno::Errno;
use crate::fs::poll::{Events, PollHead};
use crate::fs::stat::{S_IFIFO, Stat};
use crate::fs::{File, OpenFlags};
use crate::mm::frame::{self, Frame};
use crate::mm::user_memory::Cursor;
use crate::sync::{Mutex, WaitQueue};
use crate::upcalls::signal;

const PAGE: usize = PAGE_SIZE as usize;
const PAGES: usize = 16;
/// Bytes that a pipe holds.
const CAPACITY: usize = PAGES * PAGE;
/// Writes up to this size are not mixed with others (PIPE_BUF).
const ATOMIC: usize = PAGE;

/// What both ends share.
struct Pipe {
    /// Guards the bytes. Held over user copies, which may sleep.
    ring: Mutex<Ring>,
    /// Bytes in the ring: written under the lock, read by who waits.
    len: AtomicU32,
    /// Neither end is ever opened anew: an end is gone with its last description.
    read_end_gone: AtomicBool,
    write_end_gone: AtomicBool,
    /// Readers that wait for bytes or for the last writer's end.
    not_empty: WaitQueue,
    /// Writers that wait for room or for the last reader's end.
    not_full: WaitQueue,
    /// Told of both ends' changes; a pair of sockets shares one.
    poll: Arc<PollHead>,
}

/// The bytes, at positions that grow for ever modulo the capacity.
struct Ring {
    /// Allocated when first needed.
    pages: [Option<Frame>; PAGES],
    head: u64,
    tail: u64,
}

impl Ring {
    fn len(&self) -> usize {
        (self.tail - self.head) as usize
    }

    /// The run of `len` bytes from position `at`, cut at the end of its page.
    /// Allocates the page if need be.
    fn run(&mut self, at: u64, len: usize) -> Result<&mut [u8], Errno> {
        let offset = at as usize % PAGE;
        let page = &mut self.pages[at as usize / PAGE % PAGES];
        if page.is_none() {
            *page = Some(frame::alloc().ok_or(Errno::ENOMEM)?);
        }
        let page = page.as_ref().expect("just allocated").as_mut_ptr();
        // SAFETY: the frame is ours alone while we have `&mut self`, it is in the
        // linear map, and the run lies inside it.
        Ok(unsafe { core::slice::from_raw_parts_mut(page.add(offset), len.min(PAGE - offset)) })
    }

    /// Moves bytes in until the ring is full or there are no more.
    fn fill(&mut self, from: &mut Cursor<'_>) -> Result<(), Errno> {
        while from.remaining() > 0 && self.len() < CAPACITY {
            let room = (CAPACITY - self.len()).min(from.remaining());
            let before = from.done();
            let result = from.take(self.run(self.tail, room)?);
            // What was copied before a bad address is in the pipe, too.
            self.tail += (from.done() - before) as u64;
            result?;
        }
        Ok(())
    }

    /// Moves bytes out until the ring is empty or the user has enough.
    fn drain(&mut self, to: &mut Cursor<'_>) -> Result<(), Errno> {
        let result = self.drain_runs(to);
        if self.len() == 0 {
            self.tail -= self.tail % PAGE_SIZE;
            self.head = self.tail;
        }
        result
    }

    fn drain_runs(&mut self, to: &mut Cursor<'_>) -> Result<(), Errno> {
        while to.remaining() > 0 && self.len() > 0 {
            let bytes = self.len().min(to.remaining());
            let before = to.done();
            let result = to.put(self.run(self.head, bytes)?);
            self.head += (to.done() - before) as u64;
            result?;
        }
        Ok(())
    }
}

impl Pipe {
    fn len(&self) -> usize {
        // Relaxed: a wait queue or the ring's lock orders what depends on it.
        self.len.load(Ordering::Relaxed) as usize
    }

    fn room(&self) -> usize {
        CAPACITY - self.len()
    }

    fn no_readers(&self) -> bool {
        self.read_end_gone.load(Ordering::Relaxed)
    }

    fn no_writers(&self) -> bool {
        // Acquire: pairs with the release in `WriteEnd::drop`; who sees it gone
        // sees all that was written.
        self.write_end_gone.load(Ordering::Acquire)
    }
}

/// The end that is read.
struct ReadEnd(Arc<Pipe>);
/// The end that is written.
struct WriteEnd(Arc<Pipe>);

/// A new pipe: the end to read and the end to write.
pub(crate) fn new() -> (Arc<dyn File>, Arc<dyn File>) {
    with_poll_head(Arc::new(PollHead::new()))
}

/// As [`new`], with a poll head that tells of something else, too.
pub(super) fn with_poll_head(poll: Arc<PollHead>) -> (Arc<dyn File>, Arc<dyn File>) {
    let pipe = Arc::new(Pipe {
        ring: Mutex::new(Ring { pages: [const { None }; PAGES], head: 0, tail: 0 }),
        len: AtomicU32::new(0),
        read_end_gone: AtomicBool::new(false),
        write_end_gone: AtomicBool::new(false),
        not_empty: WaitQueue::new(),
        not_full: WaitQueue::new(),
        poll,
    });
    (Arc::new(ReadEnd(pipe.clone())), Arc::new(WriteEnd(pipe)))
}

impl File for ReadEnd {
    fn read(&self, to: &mut Cursor<'_>, _: u64, flags: OpenFlags) -> Result<(), Errno> {
        let pipe = &*self.0;
        while to.remaining() > 0 {
            let mut ring = pipe.ring.lock();
            if ring.len() > 0 {
                let result = ring.drain(to);
                let len = ring.len();
                pipe.len.store(len as u32, Ordering::Relaxed);
                drop(ring);
                if len > 0 {
                    pipe.not_empty.wake_one();
                }
                // Not for a few bytes: a woken writer shall find room for some.
                if CAPACITY - len >= ATOMIC {
                    pipe.not_full.wake_one();
                    pipe.poll.notify();
                }
                return result;
            }
            drop(ring);
            if pipe.no_writers() {
                // The last writer may have written between our look and its end.
                if pipe.len() == 0 {
                    return Ok(());
                }
                continue;
            }
            if flags.contains(OpenFlags::NONBLOCK) {
                return Err(Errno::EAGAIN);
            }
            signal::wait(&pipe.not_empty, || pipe.len() > 0 || pipe.no_writers())?;
        }
        Ok(())
    }

    fn stat(&self) -> Stat {
        Stat::anonymous(S_IFIFO | 0o600)
    }

    fn events(&self) -> Events {
        let pipe = &*self.0;
        let mut events = Events::empty();
        events.set(Events::IN | Events::RDNORM, pipe.len() > 0);
        events.set(Events::HUP, pipe.no_writers());
        events
    }

    fn poll_head(&self) -> Option<&PollHead> {
        Some(&self.0.poll)
    }
}

impl File for WriteEnd {
    fn write(&self, from: &mut Cursor<'_>, _: u64, flags: OpenFlags) -> Result<(), Errno> {
        let pipe = &*self.0;
        // All of a small write at once; a large one as there is room.
        let needed = if from.remaining() <= ATOMIC { from.remaining() } else { 1 };
        while from.remaining() > 0 {
            if pipe.no_readers() {
                signal::send_to_current(signal::SIGPIPE);
                return Err(Errno::EPIPE);
            }
            let mut ring = pipe.ring.lock();
            if CAPACITY - ring.len() >= needed {
                let result = ring.fill(from);
                let len = ring.len();
                pipe.len.store(len as u32, Ordering::Relaxed);
                drop(ring);
                pipe.not_empty.wake_one();
                pipe.poll.notify();
                if CAPACITY - len >= ATOMIC {
                    pipe.not_full.wake_one();
                }
                result?;
                continue;
            }
            drop(ring);
            if flags.contains(OpenFlags::NONBLOCK) {
                return Err(Errno::EAGAIN);
            }
            signal::wait(&pipe.not_full, || pipe.room() >= needed || pipe.no_readers())?;
        }
        Ok(())
    }

    fn stat(&self) -> Stat {
        Stat::anonymous(S_IFIFO | 0o600)
    }

    fn events(&self) -> Events {
        let pipe = &*self.0;
        let mut events = Events::empty();
        events.set(Events::OUT | Events::WRNORM, pipe.room() >= ATOMIC);
        events.set(Events::ERR, pipe.no_readers());
        events
    }

    fn poll_head(&self) -> Option<&PollHead> {
        Some(&self.0.poll)
    }
}

impl Drop for ReadEnd {
    fn drop(&mut self) {
        self.0.read_end_gone.store(true, Ordering::Relaxed);
        self.0.not_full.wake_all();
        self.0.poll.notify();
    }
}

impl Drop for WriteEnd {
    fn drop(&mut self) {
        // Release: pairs with the acquire in `no_writers`.
        self.0.write_end_gone.store(true, Ordering::Release);
        self.0.not_empty.wake_all();
        self.0.poll.notify();
    }
}
