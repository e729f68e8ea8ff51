//! The pages of a file or of shared memory: Linux's page cache, its `address_space`.
//!
//! Pages come into being when first asked for, from the bytes that the object was made of (a file
//! of the initial ramdisk) or as zeroes. The object holds the one reference to each, for those who map
//! it, too: it gives up a page when no address space has an entry of it any more. A store through a
//! shared mapping and a `write` reach one frame.

use alloc::collections::BTreeMap;
use core::ops::Range;
use core::sync::atomic::{AtomicU64, Ordering};

use arch::addr::PAGE_SIZE;
use kcore::mm::mappers::Mappers;

use super::{FaultError, mapping};
use crate::errno::Errno;
use crate::machine::lazy_tlb;
use crate::memory::{
    frame::{self, Frame},
    heap,
};
use crate::task::Mutex;

/// Pages by their number. In an `Arc`: files and mappings share it.
pub(crate) struct Object {
    id: u64,
    /// The size in bytes. Stored (release) when the bytes before it are in their pages:
    /// partner, the load (acquire) in `len`. One caller at a time changes it: of a file,
    /// the holder of its inode's `writing`.
    len: AtomicU64,
    /// Nests inside every `mmap_lock`. No user memory is touched under it.
    pages: Mutex<Pages>,
    /// The address spaces that map it.
    mappers: Mappers,
}

struct Pages {
    /// The bytes that pages hold at first; zeroes behind its end.
    source: &'static [u8],
    /// Pages behind the end are zeroes and not mapped.
    frames: BTreeMap<u64, Frame>,
}

/// The most that a new page costs on the heap, in nodes of the tree.
const NODE_BYTES: usize = 1024;

impl Object {
    /// `len` bytes of zeroes.
    pub(crate) fn new(len: u64) -> Object {
        Self::with_source(&[], len)
    }

    /// The bytes of a file that is in memory already.
    pub(crate) fn of_bytes(source: &'static [u8]) -> Object {
        Self::with_source(source, source.len() as u64)
    }

    fn with_source(source: &'static [u8], len: u64) -> Object {
        static NEXT_ID: AtomicU64 = AtomicU64::new(1);
        let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
        let pages = Mutex::new(Pages { source, frames: BTreeMap::new() });
        Object { id, len: AtomicU64::new(len), pages, mappers: Mappers::default() }
    }

    /// The bytes that it was made of, if any are left: its contents, unless it was written to.
    pub(crate) fn source(&self) -> Option<&'static [u8]> {
        let source = self.pages.lock().source;
        (!source.is_empty()).then_some(source)
    }

    /// A number that no other object has or had.
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// The size in bytes. Any context.
    pub(crate) fn len(&self) -> u64 {
        // F47 acquire: orders the size before the reads of the bytes. Partners: `set_len`, `grow`.
        self.len.load(Ordering::Acquire)
    }

    /// The bytes of memory that it takes, in frames or in the archive.
    pub(crate) fn bytes(&self) -> u64 {
        let pages = self.pages.lock();
        if pages.source.is_empty() { pages.frames.len() as u64 * PAGE_SIZE } else { self.len() }
    }

    /// The list of the address spaces that map it.
    pub(super) fn mappers(&self) -> &Mappers {
        &self.mappers
    }

    /// Changes the size. When this returns, cut bytes are gone from every address space; they
    /// read as zeroes if the object grows again. Interrupts and preemption on, no `mmap_lock`
    /// held; may sleep.
    pub(crate) fn set_len(&self, len: u64) {
        let mut pages = self.pages.lock();
        let old = self.len();
        if len > old {
            pages.zero_tail(old);
        }
        // F47 release: orders the zeroes behind the old end before the size. Partner: `len`.
        self.len.store(len, Ordering::Release);
        if len >= old {
            return;
        }
        let cut = pages.cut(len);
        drop(pages);
        // After the store of the length: a fault that comes later finds no page.
        let first = len.div_ceil(PAGE_SIZE);
        lazy_tlb().for_each_mapper(&self.mappers, |mm| mapping::unmap_from(mm, self, first));
        // Entries hold no reference: these pages are free when none is left, and no translation.
        drop(cut);
    }

    /// Reports that the first `len` bytes are stored: the size is `len` at least.
    pub(crate) fn grow(&self, len: u64) {
        // Relaxed: only the caller changes it.
        if len > self.len.load(Ordering::Relaxed) {
            // F47 release: orders the stored bytes before the size. Partner: `len`.
            self.len.store(len, Ordering::Release);
        }
    }

    /// Whether page `number` has come into being. May sleep.
    pub(super) fn has_page(&self, number: u64) -> bool {
        self.pages.lock().frames.contains_key(&number)
    }

    /// Calls `f` with the number and the page of those in `numbers` that have come into being and
    /// do not lie behind the end. `f` does not sleep. May sleep.
    pub(super) fn for_each_page(&self, numbers: Range<u64>, mut f: impl FnMut(u64, &Frame)) {
        let pages = self.pages.lock();
        let end = numbers.end.min(self.len().div_ceil(PAGE_SIZE));
        for (&number, page) in pages.frames.range(numbers.start.min(end)..end) {
            f(number, page);
        }
    }

    /// A reference to page `number`; `Bus` if it lies behind the end. May sleep.
    #[inline]
    pub(crate) fn page(&self, number: u64) -> Result<Frame, FaultError> {
        let mut pages = self.pages.lock();
        if number >= self.len().div_ceil(PAGE_SIZE) {
            return Err(FaultError::Bus);
        }
        pages.get(number)
    }

    /// As [`Object::page`], but behind the end, too: for a write that begins at byte `at` and
    /// calls [`Object::grow`] when its bytes are stored. `ENOSPC`. May sleep.
    pub(crate) fn page_to_write(&self, number: u64, at: u64) -> Result<Frame, Errno> {
        let mut pages = self.pages.lock();
        if at > self.len() {
            pages.zero_tail(self.len());
        }
        pages.get(number).map_err(|_| Errno::ENOSPC)
    }

    /// Makes pages for the bytes from `start` to `end`, behind the object's end, too. After
    /// `ENOSPC` no page behind the end is left. May sleep.
    pub(crate) fn allocate(&self, start: u64, end: u64) -> Result<(), Errno> {
        let numbers = start / PAGE_SIZE..end.div_ceil(PAGE_SIZE);
        let enough = numbers.end - numbers.start <= frame::free_count();
        let all = enough && numbers.into_iter().all(|number| self.pages.lock().get(number).is_ok());
        if !all {
            let behind = self.len().div_ceil(PAGE_SIZE);
            drop(self.pages.lock().frames.split_off(&behind));
            return Err(Errno::ENOSPC);
        }
        Ok(())
    }
}

impl Pages {
    fn get(&mut self, number: u64) -> Result<Frame, FaultError> {
        if let Some(page) = self.frames.get(&number) {
            return Ok(page.share());
        }
        let page = self.new_page(number)?;
        if !heap::ensure_room(NODE_BYTES) {
            return Err(FaultError::Oom);
        }
        let shared = page.share();
        self.frames.insert(number, page);
        Ok(shared)
    }

    fn new_page(&self, number: u64) -> Result<Frame, FaultError> {
        let page = frame::alloc_zeroed().ok_or(FaultError::Oom)?;
        let offset = number.saturating_mul(PAGE_SIZE).min(self.source.len() as u64) as usize;
        let bytes = &self.source[offset..];
        let bytes = &bytes[..bytes.len().min(PAGE_SIZE as usize)];
        // SAFETY: at most a page, to a page that only we have.
        unsafe { core::ptr::copy_nonoverlapping(bytes.as_ptr(), page.as_mut_ptr(), bytes.len()) };
        Ok(page)
    }

    /// Forgets everything from byte `len` on. The pages, which may still be mapped.
    fn cut(&mut self, len: u64) -> BTreeMap<u64, Frame> {
        self.source = &self.source[..self.source.len().min(len as usize)];
        let cut = self.frames.split_off(&len.div_ceil(PAGE_SIZE));
        self.zero_tail(len);
        cut
    }

    /// Zeroes the bytes behind byte `len` in its page, which were cut off or stored through a
    /// mapping.
    fn zero_tail(&self, len: u64) {
        let tail = len % PAGE_SIZE;
        if let Some(last) = self.frames.get(&(len / PAGE_SIZE)).filter(|_| tail != 0) {
            // SAFETY: inside the page. Programs that map it may read meanwhile: they see a file
            // that changes.
            unsafe { last.as_mut_ptr().add(tail as usize).write_bytes(0, (PAGE_SIZE - tail) as usize) };
        }
    }
}
