//! Flush before free.
//!
//! A frame that a page table named may be in TLBs, and a table in page-walk caches, of any CPU
//! that had the address space. Neither may be reused before the flush that covers it. So code
//! that takes entries away hands them to a [`Gather`], which frees a batch only after its flush.
//! Its drop does the last flush, so that none is forgotten.

use arch::addr::{PAGE_SHIFT, PhysAddr};
use arch::encoding::pte::PteFlags;
use arch::mmu::cursor::Entry;
use arch::mmu::cursor::visit::{Eight, Visit};
use core::mem::MaybeUninit;
use core::ops::Range;
use kcore::mm::MmId;
use kcore::mm::flush::FlushRange;

use crate::machine::lazy_tlb;
use crate::memory::frame::{self, FrameNumber};

/// Frames of a batch, a multiple of what a visit takes together; 2 KB of the stack.
const BATCH: usize = 488;
/// No addresses; its ends are those of no address.
pub(super) const NO_SPAN: Range<u64> = Range { start: u64::MAX, end: 0 };
/// More pages than this are flushed as a whole address space, not by page.
const MOST_PAGES: u64 = FlushRange::MOST_LOCAL_PAGES as u64;

/// Entries taken away or weakened, and not yet flushed.
///
/// The flushes may wait for other CPUs: interrupts and preemption on, and no lock
/// held but sleeping ones.
pub(super) struct Gather {
    mm: MmId,
    /// The first `len` are initialised: most gathers are short, and clearing the
    /// array would cost more than they do.
    frames: [MaybeUninit<FrameNumber>; BATCH],
    len: usize,
    /// The addresses that the flush has to cover.
    span: Range<u64>,
    tables: bool,
    /// No CPU has the mm loaded and its last flush is done.
    dead: bool,
}

impl Gather {
    /// For an mm that is in use.
    pub(super) fn new(mm: MmId) -> Self {
        // `const`: a value would be copied to each element, in fact as zeroes.
        Self {
            mm,
            frames: [const { MaybeUninit::uninit() }; BATCH],
            len: 0,
            span: NO_SPAN,
            tables: false,
            dead: false,
        }
    }

    /// For an mm whose final flush is done: frames are freed without another.
    pub(super) fn after_exit_flush(mm: MmId) -> Self {
        let mut gather = Self::new(mm);
        gather.dead = true;
        gather
    }

    /// Entries that serve `range` lost permissions.
    #[inline(always)]
    pub(super) fn weakened(&mut self, range: Range<u64>) {
        self.span = self.span.start.min(range.start)..self.span.end.max(range.end);
    }

    /// A table of one page was taken out of the tree.
    pub(super) fn detached(&mut self, table: PhysAddr) {
        if self.len >= BATCH {
            self.flush_and_free();
        }
        // After the flush, which resets it.
        self.tables = true;
        frame::forget_parts(table);
        self.push(table);
    }

    #[inline(always)]
    fn push(&mut self, page: PhysAddr) {
        self.push_all([page]);
    }

    #[inline(always)]
    fn push_all<const N: usize>(&mut self, pages: [PhysAddr; N]) {
        let places = self.frames[self.len..].first_chunk_mut::<N>().expect("no room in a gather");
        for (place, page) in places.iter_mut().zip(pages) {
            place.write((page.0 >> PAGE_SHIFT) as FrameNumber);
        }
        self.len += N;
    }

    /// Flushes and frees all that was gathered so far.
    pub(super) fn flush_and_free(&mut self) {
        let span = core::mem::replace(&mut self.span, NO_SPAN);
        if let Some(what) = range_to_flush(span, self.tables)
            && !self.dead
        {
            lazy_tlb().flush(self.mm, what);
        }
        if self.len == 0 {
            return;
        }
        // SAFETY: `push` wrote the first `len`.
        let frames = unsafe { self.frames[..self.len].assume_init_mut() };
        // SAFETY: the entries' references are ours, and no translation through
        // those entries, nor a walk through those tables, is left.
        unsafe { frame::drop_references(frames) };
        (self.len, self.tables) = (0, false);
    }
}

/// A walk that empties valid entries: the references that they hold go to the gather.
pub(super) struct Taking<'g> {
    pub(super) gather: &'g mut Gather,
    /// The addresses of entries that the gather does not know of.
    pub(super) span: Range<u64>,
    /// How many pages.
    pub(super) taken: i64,
}

impl Taking<'_> {
    /// Before the entries that serve `range` are emptied.
    #[inline(always)]
    fn begin(&mut self, range: Range<u64>) {
        let pages = (range.end - range.start) >> PAGE_SHIFT;
        if self.gather.len + pages as usize > BATCH {
            self.gather.weakened(core::mem::replace(&mut self.span, NO_SPAN));
            self.gather.flush_and_free();
        }
        self.span = self.span.start.min(range.start)..range.end;
        self.taken += pages as i64;
    }

    /// As [`Gather::detached`].
    #[inline]
    pub(super) fn detached(&mut self, table: PhysAddr) {
        self.gather.weakened(core::mem::replace(&mut self.span, NO_SPAN));
        self.gather.detached(table);
    }
}

impl Visit for Taking<'_> {
    /// How many pages.
    type Sum = i64;

    #[inline(always)]
    fn one(&mut self, mut entry: Entry<'_>) {
        self.begin(entry.page());
        let pte = entry.take();
        if pte.flags().contains(PteFlags::COUNTED) {
            self.gather.push(pte.page());
        }
    }

    #[inline(always)]
    fn eight(&mut self, entries: Eight<'_>) {
        if entries.in_all().flags().contains(PteFlags::COUNTED) {
            self.begin(entries.range());
            self.gather.push_all(entries.take());
        } else if entries.in_any().flags().contains(PteFlags::COUNTED) {
            entries.one_by_one(self);
        } else {
            self.uncounted(entries);
        }
    }

    #[inline(always)]
    fn uncounted(&mut self, entries: Eight<'_>) {
        let range = entries.range();
        self.span = self.span.start.min(range.start)..range.end;
        self.taken += entries.pages();
        entries.take();
    }

    #[inline(always)]
    fn end(self) -> i64 {
        self.gather.weakened(self.span);
        self.taken
    }
}

impl Drop for Gather {
    #[inline(always)]
    fn drop(&mut self) {
        if self.len != 0 || self.span != NO_SPAN {
            self.flush_and_free();
        }
    }
}

/// Entries of `mm` that serve `span` lost permissions: flushes them.
#[inline]
pub(super) fn flush_weakened(mm: MmId, span: Range<u64>) {
    if let Some(what) = range_to_flush(span, false) {
        lazy_tlb().flush(mm, what);
    }
}

/// The flush for changed entries in a span and, with `tables`, for tables that were taken out.
fn range_to_flush(Range { start, end }: Range<u64>, tables: bool) -> Option<FlushRange> {
    let pages = end.saturating_sub(start) >> PAGE_SHIFT;
    match pages {
        _ if tables => Some(FlushRange::Everything),
        0 => None,
        1..=MOST_PAGES => Some(FlushRange::Pages { start, pages: pages as u32 }),
        _ => Some(FlushRange::Translations),
    }
}
