//! Pipes: a ring of 64K between writers and readers. A pair of stream sockets is two of them.
//!
//! Bytes are copied once in and once out, under the lock of the ring: in runs of a page at most, and
//! only as far as the pages of user memory are there. Others are brought in without the lock, and the
//! copy starts over. An empty pipe starts over at the beginning of its page, so one that never holds
//! more than a page uses one page.

use core::ptr::NonNull;

use arch::addr::{PAGE_SIZE, VirtAddr};

use crate::errno::Errno;
use crate::fs::OpenFlags;
use crate::fs::channel::{self, Channel, Ends, Pair};
use crate::memory::frame::{self, Frame};
use crate::mm::user_memory::Cursor;
use crate::task::{Awaited, Interrupted, Ready};
use crate::upcalls::signal::ERESTARTSYS;

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
    /// The bytes. Readers wait for one, or for the writer's end.
    ring: Awaited<Ring>,
    ends: Ends,
}

const _: () = assert!(size_of::<Awaited<Ring>>() - size_of::<[Option<Page>; PAGES]>() <= 128);

/// The bytes, at positions that grow for ever modulo the capacity.
#[repr(C)]
struct Ring {
    head: u64,
    tail: u64,
    /// No writer is left.
    ended: bool,
    /// Allocated when first needed.
    pages: [Option<Page>; PAGES],
}

impl Ready for Ring {
    #[inline(always)]
    fn is_ready(&self) -> bool {
        (self.tail - self.head) | u64::from(self.ended) != 0
    }
}

impl Ring {
    fn len(&self) -> usize {
        (self.tail - self.head) as usize
    }

    /// The run of `len` bytes from position `at`, cut at the end of its page.
    /// Allocates the page if need be.
    #[inline(always)]
    fn run(&mut self, at: u64, len: usize) -> Result<&mut [u8], Errno> {
        let offset = at as usize % PAGE;
        let page = &mut self.pages[at as usize / PAGE % PAGES];
        let page = match page {
            Some(page) => page,
            None => new_page(page)?,
        };
        // SAFETY: the frame is ours alone while we have `&mut self`, it is in the
        // linear map, and the run lies inside it.
        Ok(unsafe { core::slice::from_raw_parts_mut(page.0.as_ptr().add(offset), len.min(PAGE - offset)) })
    }

    /// Moves `len` bytes in, for which there is room; a page at most. After an error none has moved.
    #[inline(always)]
    fn fill(&mut self, from: &mut Cursor<'_>, len: usize) -> Result<(), Errno> {
        let run = self.run(self.tail, len)?;
        if run.len() == len {
            from.take_whole(run)?;
        } else {
            self.fill_two(from, len)?;
        }
        self.tail += len as u64;
        Ok(())
    }

    /// The same over the border of a page.
    #[cold]
    #[inline(never)]
    fn fill_two(&mut self, from: &mut Cursor<'_>, len: usize) -> Result<(), Errno> {
        from.whole(|from| {
            let first = from.take(self.run(self.tail, len)?)?;
            from.take(self.run(self.tail + first as u64, len - first)?)
        })
    }

    /// Moves up to `most` bytes out, within a page; there is a byte, and room for it. Returns how many are left.
    #[inline(always)]
    fn drain(&mut self, to: &mut Cursor<'_>, most: usize) -> Result<usize, Errno> {
        let (head, tail) = (self.head, self.tail);
        let len = most.min((tail - head) as usize).min(to.remaining());
        let run = self.run(head, len)?;
        let bytes = run.len() as u64;
        to.put_whole(run)?;
        self.head = head + bytes;
        if self.head == tail {
            self.tail = tail - tail % PAGE_SIZE;
            self.head = self.tail;
        }
        Ok((tail - head - bytes) as usize)
    }
}

/// A page of the ring, by its address in the linear map.
struct Page(NonNull<u8>);

// SAFETY: it owns the frame.
unsafe impl Send for Page {}

impl Drop for Page {
    fn drop(&mut self) {
        // SAFETY: the reference that `new_page` leaked.
        drop(unsafe { Frame::from_phys(VirtAddr(self.0.addr().get() as u64).to_phys(), 0) });
    }
}

/// Puts a page into the empty `place`.
#[cold]
#[inline(never)]
fn new_page(place: &mut Option<Page>) -> Result<&mut Page, Errno> {
    let frame = frame::alloc().ok_or(Errno::ENOMEM)?;
    Ok(place.insert(Page(NonNull::new(frame.leak().as_mut_ptr()).expect("no frame is at address 0"))))
}

impl Pipe {
    fn new(ends: Ends) -> Self {
        let ring = Ring { head: 0, tail: 0, ended: false, pages: [const { None }; PAGES] };
        Pipe { ring: Awaited::new("a pipe", ring), ends }
    }

    fn room(&self) -> usize {
        CAPACITY - self.ring.lock().len()
    }

    /// Moves `len` bytes in, a page at most, or as many as fit; `None` if there is no room for `needed`.
    #[inline(always)]
    fn put(&self, from: &mut Cursor<'_>, len: usize, needed: usize) -> Option<Result<(), Errno>> {
        let mut ring = self.ring.lock();
        let room = CAPACITY - ring.len();
        if room < needed {
            return None;
        }
        let result = ring.fill(from, len.min(room));
        drop(ring);
        self.ends.poll.notify();
        Some(result)
    }

    /// Moves the rest of the bytes in, as room comes and pages do. Those before a bad address are in
    /// the pipe, too.
    // Not inlined: most writes are one `put`.
    #[cold]
    #[inline(never)]
    fn write_rest(&self, from: &mut Cursor<'_>, flags: OpenFlags) -> Result<(), Errno> {
        let is_atomic = from.done() == 0 && from.remaining() <= ATOMIC;
        let mut most = ATOMIC;
        while from.remaining() > 0 {
            if self.ends.no_reader() {
                return Err(channel::broken_pipe());
            }
            let len = from.remaining().min(most);
            let needed = if is_atomic { len } else { 1 };
            match self.put(from, len, needed) {
                None => {
                    let done = || self.room() >= needed || self.ends.no_reader();
                    channel::wait(flags, &self.ends.not_full, done)?;
                    continue;
                }
                Some(Err(Errno::EFAULT)) => most = from.bring_in(len, false)?,
                Some(result) => result?,
            }
            // We may have been woken for this room: what is left of it is the next writer's.
            if self.room() >= ATOMIC {
                self.ends.not_full.wake_one();
            }
        }
        Ok(())
    }

    /// Moves up to `most` bytes out, within a page; waits for the first, unless the read has some.
    /// Returns how many are left.
    #[inline(always)]
    fn take(&self, to: &mut Cursor<'_>, most: usize, flags: OpenFlags, waits: bool) -> Result<usize, Errno> {
        let mut ring = self.ring.lock();
        while ring.len() == 0 {
            if ring.ended || !waits {
                return Ok(0);
            }
            if flags.contains(OpenFlags::NONBLOCK) {
                return Err(Errno::EAGAIN);
            }
            ring = ring.wait().map_err(|Interrupted| ERESTARTSYS)?;
        }
        let left = ring.drain(to, most)?;
        drop(ring);
        // Not for a few bytes: a woken writer shall find room for an atomic write.
        if left <= CAPACITY - ATOMIC {
            self.ends.not_full.wake_one();
            self.ends.poll.notify();
        }
        Ok(left)
    }

    /// Moves the rest of the bytes out that are there. `most` is as in [`Pipe::take`].
    #[cold]
    #[inline(never)]
    fn read_rest(&self, to: &mut Cursor<'_>, flags: OpenFlags) -> Result<(), Errno> {
        let mut most = PAGE;
        loop {
            match self.take(to, most, flags, to.done() == 0) {
                Err(Errno::EFAULT) => most = to.bring_in(most, true)?,
                Ok(left) if left > 0 && to.remaining() > 0 => {}
                end => return end.map(drop),
            }
        }
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

    #[inline(always)]
    fn read(&self, to: &mut Cursor<'_>, flags: OpenFlags) -> Result<(), Errno> {
        match self.take(to, PAGE, flags, true) {
            Err(Errno::EFAULT) => self.read_rest(to, flags),
            Ok(left) if left > 0 && to.remaining() > 0 => self.read_rest(to, flags),
            end => end.map(drop),
        }
    }

    #[inline(always)]
    fn write(&self, from: &mut Cursor<'_>, flags: OpenFlags) -> Result<(), Errno> {
        let len = from.remaining();
        // A small write goes in at once, a large one as room comes.
        if (1..=ATOMIC).contains(&len)
            && !self.ends.no_reader()
            && let Some(Ok(())) = self.put(from, len, len)
        {
            return Ok(());
        }
        if len > 0 { self.write_rest(from, flags) } else { Ok(()) }
    }

    fn is_empty(&self) -> bool {
        self.ring.lock().len() == 0
    }

    fn has_room(&self) -> bool {
        self.room() >= ATOMIC
    }

    fn at_end(&self) -> bool {
        self.ring.lock().ended
    }

    fn end(&self) {
        self.ring.lock().ended = true;
    }
}
