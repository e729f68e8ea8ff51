//! The page tables of an address space, and the frames that they are made of.

use core::ops::Range;

use arch::addr::{PAGE_SIZE, PhysAddr};
use arch::encoding::pte::Pte;
use arch::mmu::cursor::Cursor;
use arch::mmu::tree::{RadixTree, TableSource};

use super::frame::{self, Frame};
use super::gather::Gather;

/// In a [`Map`](super::address_space::Map): whoever has it mutably has the `mmap_lock`.
pub(super) struct PageTables {
    /// None in a free slot.
    pub(super) tree: Option<RadixTree>,
    /// Pages that the tree maps.
    pub(super) resident: u64,
}

impl PageTables {
    fn tree_mut(&mut self) -> &mut RadixTree {
        self.tree.as_mut().expect("an address space without page tables")
    }

    /// The right to write the entries of `range`.
    #[inline(always)]
    pub(super) fn cursor(&mut self, range: Range<u64>) -> Cursor<'_> {
        self.tree_mut().cursor(range)
    }

    /// The right to write the entry of the page at `ea`.
    #[inline(always)]
    pub(super) fn cursor_at(&mut self, ea: u64) -> Cursor<'_> {
        self.cursor(ea..ea + PAGE_SIZE)
    }

    /// As [`PageTables::cursor`], for two ranges that do not overlap.
    pub(super) fn cursors(&mut self, one: Range<u64>, other: Range<u64>) -> (Cursor<'_>, Cursor<'_>) {
        self.tree_mut().cursors(one, other)
    }

    /// Whether a page is mapped at `ea`.
    pub(super) fn is_present(&self, ea: u64) -> bool {
        self.tree.as_ref().and_then(|tree| tree.look(ea)).is_some_and(Pte::is_valid)
    }

    /// Takes the pages in `range` out of the tree. Tables stay.
    pub(super) fn take(&mut self, range: Range<u64>, gather: &mut Gather) {
        let mut taken = 0;
        self.cursor(range).for_each(|entry| {
            gather.take(entry);
            taken += 1;
        });
        self.resident -= taken;
    }

    /// Takes the tables out that serve an address in `range`, and none outside `unused`.
    pub(super) fn detach_tables(&mut self, range: Range<u64>, unused: &Range<u64>, gather: &mut Gather) {
        self.cursor(range).detach_tables(unused, |table| gather.detached(table));
    }
}

/// The frame allocator as a source of page tables.
pub(super) struct TableFrames;

/// The order of a table of `bytes`: 0, or 4 for a root.
fn order_of(bytes: u64) -> u32 {
    (bytes / PAGE_SIZE).trailing_zeros()
}

impl TableSource for TableFrames {
    fn alloc(&mut self, bytes: u64) -> Option<PhysAddr> {
        match order_of(bytes) {
            0 => frame::alloc_zeroed(),
            order => frame::alloc_order_zeroed(order),
        }
        .map(Frame::leak)
    }

    unsafe fn free(&mut self, table: PhysAddr, bytes: u64) {
        // SAFETY: `alloc` gave the reference away, and the caller promises that it comes back.
        drop(unsafe { Frame::from_phys(table, order_of(bytes)) });
    }
}
