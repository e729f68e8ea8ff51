//! The page tables of an address space, and the right to write them.

use core::ops::Range;

use arch::addr::PAGE_SIZE;
use arch::encoding::pte::Pte;
use arch::mmu::cursor::Cursor;
use arch::mmu::tree::RadixTree;

use super::gather::Gather;

/// In a [`Map`](super::address_space::Map): a caller with a mutable reference holds the
/// `mmap_lock`.
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
