//! Pipes: a ring of 64K between writers and readers. A pair of stream sockets is two of them.
//!
//! Bytes are copied once in and once out, in runs as long as a page of the ring
//! allows. An empty pipe starts over at the beginning of its page, so one that
//! never holds more than a page uses one page.

use core::mem::offset_of;
use core::sync::atomic::{AtomicU32, Ordering};

use arch::addr::PAGE_SIZE;

use crate::errno::Errno;
use crate::fs::OpenFlags;
use crate::fs::channel::{self, Channel, Ends, Pair};
use crate::memory::frame::{self, Frame};
use crate::mm::user_memory::Cursor;
use crate::task::{Mutex, WaitQueue};

const PAGE: usize = PAGE_SIZE as usize;
const PAGES: usize = 16;
/// Bytes that a pipe holds.
const CAPACITY: usize = PAGES * PAGE;
/// Writes up to this size are not mixed with others (PIPE_BUF).
const ATOMIC: usize = PAGE;

/// A pipe. What a write and a read of a few bytes change lies in its first line, which moves
/// once from the writer's CPU to the reader's.
#[repr(C, align(128))]
struct Pipe {
    /// Readers that wait for something to read or for the writer's end.
    not_empty: WaitQueue,
    /// Bytes in the ring: written under the lock, read by waiting tasks.
    len: AtomicU32,
    /// Guards the bytes. Held over user copies, which may sleep.
    ring: Mutex<Ring>,
    ends: Ends,
}

const _: () = assert!(offset_of!(Pipe, ring) + Mutex::<Ring>::VALUE_OFFSET + offset_of!(Ring, pages) <= 128);

/// The bytes, at positions that grow for ever modulo the capacity.
#[repr(C)]
struct Ring {
    head: u64,
    tail: u64,
    /// Allocated when first needed.
    pages: [Option<Frame>; PAGES],
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
        let page = match page {
            Some(page) => page,
            None => new_page(page)?,
        };
        let page = page.as_mut_ptr();
        // SAFETY: the frame is ours alone while we have `&mut self`, it is in the
        // linear map, and the run lies inside it.
        Ok(unsafe { core::slice::from_raw_parts_mut(page.add(offset), len.min(PAGE - offset)) })
    }

    /// Moves bytes in until the ring is full or `from` is empty. There is room, and a byte.
    #[inline(always)]
    fn fill(&mut self, from: &mut Cursor<'_>) -> Result<(), Errno> {
        self.fill_run(from)?;
        if from.remaining() > 0 { self.fill_rest(from) } else { Ok(()) }
    }

    // Not inlined: mostly one run has room for all.
    #[cold]
    #[inline(never)]
    fn fill_rest(&mut self, from: &mut Cursor<'_>) -> Result<(), Errno> {
        while from.remaining() > 0 && self.len() < CAPACITY {
            self.fill_run(from)?;
        }
        Ok(())
    }

    #[inline(always)]
    fn fill_run(&mut self, from: &mut Cursor<'_>) -> Result<(), Errno> {
        let before = from.remaining();
        let room = (CAPACITY - self.len()).min(before);
        let result = from.take(self.run(self.tail, room)?);
        // The bytes before a bad address are in the pipe, too.
        self.tail += (before - from.remaining()) as u64;
        result.map(drop)
    }

    /// Moves bytes out until the ring is empty or the user has enough. There is a byte, and room.
    #[inline(always)]
    fn drain(&mut self, to: &mut Cursor<'_>) -> Result<(), Errno> {
        let mut result = self.drain_run(to);
        if self.len() > 0 && to.remaining() > 0 && result.is_ok() {
            result = self.drain_rest(to);
        }
        if self.len() == 0 {
            self.tail -= self.tail % PAGE_SIZE;
            self.head = self.tail;
        }
        result
    }

    // Not inlined: mostly one run is all.
    #[cold]
    #[inline(never)]
    fn drain_rest(&mut self, to: &mut Cursor<'_>) -> Result<(), Errno> {
        while to.remaining() > 0 && self.len() > 0 {
            self.drain_run(to)?;
        }
        Ok(())
    }

    #[inline(always)]
    fn drain_run(&mut self, to: &mut Cursor<'_>) -> Result<(), Errno> {
        let before = to.remaining();
        let bytes = self.len().min(before);
        let result = to.put(self.run(self.head, bytes)?);
        self.head += (before - to.remaining()) as u64;
        result.map(drop)
    }
}

/// Puts a frame into the empty `place`.
#[cold]
#[inline(never)]
fn new_page(place: &mut Option<Frame>) -> Result<&mut Frame, Errno> {
    Ok(place.insert(frame::alloc().ok_or(Errno::ENOMEM)?))
}

impl Pipe {
    fn new(ends: Ends) -> Self {
        let ring = Ring { pages: [const { None }; PAGES], head: 0, tail: 0 };
        Pipe { not_empty: WaitQueue::new(), len: AtomicU32::new(0), ring: Mutex::new(ring), ends }
    }

    fn len(&self) -> usize {
        // Relaxed: a wait queue or the ring's lock orders the accesses that depend on it.
        self.len.load(Ordering::Relaxed) as usize
    }

    fn room(&self) -> usize {
        CAPACITY - self.len()
    }

    /// Moves bytes in, if there is room for `needed` of them now.
    #[inline(always)]
    fn put(&self, from: &mut Cursor<'_>, needed: usize) -> Option<Result<(), Errno>> {
        let mut ring = self.ring.lock();
        if CAPACITY - ring.len() < needed {
            return None;
        }
        let result = ring.fill(from);
        self.len.store(ring.len() as u32, Ordering::Relaxed);
        drop(ring);
        self.not_empty.wake_one();
        self.ends.poll.notify();
        Some(result)
    }

    /// Moves the rest of the bytes in, as room comes.
    // Not inlined: most writes are one `put`.
    #[cold]
    #[inline(never)]
    fn write_rest(&self, from: &mut Cursor<'_>, needed: usize, flags: OpenFlags) -> Result<(), Errno> {
        while from.remaining() > 0 {
            if self.ends.no_reader() {
                return Err(channel::broken_pipe());
            }
            let Some(result) = self.put(from, needed) else {
                self.wait_for_room(flags, needed)?;
                continue;
            };
            // We may have been woken for this room: what is left of it is the next writer's.
            if self.room() >= ATOMIC {
                self.ends.not_full.wake_one();
            }
            result?;
        }
        Ok(())
    }

    fn wait_for_room(&self, flags: OpenFlags, needed: usize) -> Result<(), Errno> {
        let ends = &self.ends;
        channel::wait(flags, &ends.not_full, || self.room() >= needed || ends.no_reader())
    }
}

/// A new pipe: the end to read and the end to write.
pub(crate) fn new() -> Pair {
    channel::one_way(Pipe::new)
}

/// A new pair of connected stream sockets.
pub(crate) fn pair() -> Pair {
    channel::two_way(Pipe::new)
}

impl Channel for Pipe {
    fn ends(&self) -> &Ends {
        &self.ends
    }

    fn not_empty(&self) -> &WaitQueue {
        &self.not_empty
    }

    #[inline(always)]
    fn take(&self, to: &mut Cursor<'_>) -> Option<Result<(), Errno>> {
        let mut ring = self.ring.lock();
        if ring.len() == 0 {
            return None;
        }
        let result = ring.drain(to);
        let len = ring.len();
        self.len.store(len as u32, Ordering::Relaxed);
        drop(ring);
        if len > 0 {
            self.not_empty.wake_one();
        }
        // Not for a few bytes: a woken writer shall find room for an atomic write.
        if CAPACITY - len >= ATOMIC {
            self.ends.not_full.wake_one();
            self.ends.poll.notify();
        }
        Some(result)
    }

    fn write(&self, from: &mut Cursor<'_>, flags: OpenFlags) -> Result<(), Errno> {
        // A small write goes in at once, a large one as room comes.
        let needed = if from.remaining() <= ATOMIC { from.remaining() } else { 1 };
        if needed > 0
            && !self.ends.no_reader()
            && let Some(result) = self.put(from, needed)
        {
            result?;
        }
        if from.remaining() > 0 { self.write_rest(from, needed, flags) } else { Ok(()) }
    }

    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn has_room(&self) -> bool {
        self.room() >= ATOMIC
    }
}
