//! The pages of a file, or of memory that is shared: what Linux calls an address
//! space's page cache.
//!
//! Pages come into being when first asked for, from the bytes that the object was
//! made of (a file of the initial ramdisk) or as zeroes. The object holds one
//! reference to each; every mapping of it holds another. A store through a shared
//! mapping and a `write` reach the same frame.

use alloc::collections::BTreeMap;
use core::sync::atomic::{AtomicU64, Ordering};

use powerpc64::addr::PAGE_SIZE;

use super::frame::{self, Frame};
use super::{FaultError, heap};
use crate::errno::Errno;
use crate::sync::Mutex;

/// Pages by their number. In an `Arc`: files and mappings share it.
pub(crate) struct Object {
    id: u64,
    /// Nests inside every `mmap_lock`. No user memory is touched under it.
    pages: Mutex<Pages>,
}

struct Pages {
    /// The size in bytes; pages wholly behind it do not exist.
    len: u64,
    /// What pages hold at first; zeroes behind its end.
    source: &'static [u8],
    frames: BTreeMap<u64, Frame>,
}

/// What a new page costs on the heap, at most, in nodes of the tree.
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
        Object { id, pages: Mutex::new(Pages { len, source, frames: BTreeMap::new() }) }
    }

    /// The bytes that it was made of, if any are left: its contents, unless
    /// somebody wrote to it.
    pub(crate) fn source(&self) -> Option<&'static [u8]> {
        let source = self.pages.lock().source;
        (!source.is_empty()).then_some(source)
    }

    /// A number that no other object has or had.
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// The size in bytes.
    pub(crate) fn len(&self) -> u64 {
        self.pages.lock().len
    }

    /// Changes the size. What is cut off is gone, and reads as zeroes if the
    /// object grows again. Pages that somebody still maps stay theirs until they
    /// unmap them. May sleep.
    pub(crate) fn set_len(&self, len: u64) {
        let mut pages = self.pages.lock();
        if len < pages.len {
            pages.cut(len);
        }
        pages.len = len;
    }

    /// A reference to page `number`; `Bus` if it lies behind the end. May sleep.
    pub(crate) fn page(&self, number: u64) -> Result<Frame, FaultError> {
        self.pages.lock().get(number)
    }

    /// Whether page `number` has come into being. May sleep.
    pub(super) fn has_page(&self, number: u64) -> bool {
        self.pages.lock().frames.contains_key(&number)
    }

    /// As [`Object::page`], but the object grows to at least `end` bytes first:
    /// for a `write` that ends there. May sleep.
    pub(crate) fn page_growing(&self, number: u64, end: u64) -> Result<Frame, Errno> {
        let mut pages = self.pages.lock();
        let old = pages.len;
        pages.len = old.max(end);
        pages.get(number).map_err(|_| {
            pages.len = old;
            Errno::ENOSPC
        })
    }
}

impl Pages {
    fn get(&mut self, number: u64) -> Result<Frame, FaultError> {
        if number >= self.len.div_ceil(PAGE_SIZE) {
            return Err(FaultError::Bus);
        }
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
        // SAFETY: at most a page, to a page that nobody else has.
        unsafe { core::ptr::copy_nonoverlapping(bytes.as_ptr(), page.as_mut_ptr(), bytes.len()) };
        Ok(page)
    }

    /// Forgets everything from byte `len` on.
    fn cut(&mut self, len: u64) {
        self.source = &self.source[..self.source.len().min(len as usize)];
        drop(self.frames.split_off(&len.div_ceil(PAGE_SIZE)));
        let tail = len % PAGE_SIZE;
        if let Some(last) = self.frames.get(&(len / PAGE_SIZE)).filter(|_| tail != 0) {
            // SAFETY: inside the page. Programs that map it may look on: to them
            // it is a file that changes.
            unsafe { last.as_mut_ptr().add(tail as usize).write_bytes(0, (PAGE_SIZE - tail) as usize) };
        }
    }
}
