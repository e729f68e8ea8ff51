//! A cursor is the right to change the entries of a range of a tree.
//!
//! It borrows the tree mutably, from the lock that guards it, so no two cursors of a tree
//! can write the same entry at once. MMUs read all the while. The one thing that may happen beside
//! a cursor is that an *empty* entry is filled ([`entry_in`]): a cursor that visits the entries of
//! a table has this stopped before, by the function that [`RadixTree::cursor`] is given.

pub mod leaf_tables;
pub mod visit;

use self::leaf_tables::Parts;
use super::entry::AtomicPte;
use super::tree::{OutOfMemory, Owner, RadixTree, TableSource, TakeApart};
use crate::addr::{PAGE_SHIFT, PAGE_SIZE, PhysAddr, VirtAddr};
use crate::encoding::pte::{Pte, TABLE_BYTES};
use crate::isa;
use core::ops::Range;

/// The right to write the entries of a range. [`RadixTree::cursor`] makes it.
#[derive(Debug)]
pub struct Cursor<'t> {
    /// Borrowed mutably by the caller that asked for the cursor.
    tree: &'t RadixTree,
    range: Range<u64>,
    /// See [`RadixTree::cursor`].
    owner: Owner,
}

/// An entry that the owner of the cursor may write.
#[derive(Debug)]
pub struct Entry<'c> {
    ea: u64,
    pte: &'c AtomicPte,
}

impl<'t> Cursor<'t> {
    #[inline(always)]
    pub(super) fn new(tree: &'t RadixTree, range: Range<u64>, owner: Owner) -> Self {
        Self { tree, range, owner }
    }

    /// The entry at `ea`, in the range. None where a table is missing. To fill it, if it is empty, is for
    /// a caller that [`Cursor::entry`] has given it before.
    #[inline]
    pub fn find(&mut self, ea: u64) -> Option<Entry<'_>> {
        debug_assert!(self.range.contains(&ea), "{ea:#x} is not in {:x?}", self.range);
        self.tree.walk(ea).map(|pte| Entry { ea, pte })
    }

    /// The entry at `ea`, in the range. Makes the tables that are missing.
    ///
    /// # Errors
    /// [`OutOfMemory`]. Tables made so far stay; they are empty and harmless.
    #[inline(always)]
    pub fn entry(&mut self, ea: u64, source: &mut dyn TableSource) -> Result<Entry<'_>, OutOfMemory> {
        debug_assert!(self.range.contains(&ea), "{ea:#x} is not in {:x?}", self.range);
        let entry = Entry { ea, pte: self.tree.walk_alloc(ea, source)? };
        if !entry.get().is_valid() {
            source.filling(entry.table(), Parts::of(&entry.page()));
        }
        Ok(entry)
    }

    /// Takes tables out of the tree and calls `gone` with each: those that serve an address in
    /// the range and none outside `unused`, which contains it. Nothing in `unused` is mapped
    /// any more, and no other CPU changes the tree there meanwhile. Their memory (4 KiB each)
    /// may be reused after a flush with the page-walk cache (RIC 2, or 1 and the range).
    // Not inlined: an unmap that leaves the tables saves no registers for it.
    #[inline(never)]
    pub fn detach_tables(&mut self, unused: &Range<u64>, gone: impl FnMut(PhysAddr)) {
        struct Gone<F>(F);
        impl<F: FnMut(PhysAddr)> TakeApart for Gone<F> {
            fn leaf_table(&mut self, _: PhysAddr, _: Range<u64>) {}

            fn gone(&mut self, table: PhysAddr) {
                (self.0)(table);
            }
        }
        self.tree.take_apart(self.range.clone(), unused, &mut Gone(gone));
    }
}

impl Entry<'_> {
    /// The right to write the entry, for a while.
    #[inline(always)]
    pub fn lend(&mut self) -> Entry<'_> {
        Entry { ea: self.ea, pte: self.pte }
    }

    /// The address that the entry serves.
    #[inline(always)]
    #[must_use]
    pub fn ea(&self) -> u64 {
        self.ea
    }

    /// The addresses that the entry serves.
    #[inline(always)]
    #[must_use]
    pub fn page(&self) -> Range<u64> {
        self.ea..self.ea + PAGE_SIZE
    }

    /// The table that it lies in.
    #[inline(always)]
    #[must_use]
    pub fn table(&self) -> PhysAddr {
        let entry = VirtAddr(core::ptr::from_ref(self.pte) as u64).to_phys();
        PhysAddr(entry.0 & !(TABLE_BYTES - 1))
    }

    /// What the entry holds.
    #[inline(always)]
    #[must_use]
    pub fn get(&self) -> Pte {
        self.pte.load()
    }

    /// Sets the entry. If that adds permissions for the page which it names, no flush is
    /// needed. If it removes permissions, or clears the entry, a flush must follow.
    #[inline(always)]
    pub fn set(&mut self, pte: Pte) {
        self.pte.store(pte);
    }

    /// Fills the entry if it is empty. No CPU can have a translation of it: no flush.
    ///
    /// # Errors
    /// What another fault has filled it with.
    #[inline(always)]
    pub fn fill(&mut self, pte: Pte) -> Result<(), Pte> {
        self.pte.replace(Pte::NONE, pte)
    }

    /// As [`Entry::set`], for the page that it names already, with other permissions.
    #[inline(always)]
    pub fn set_same_page(&mut self, pte: Pte) {
        self.pte.store_no_new_page(pte);
    }

    /// Empties the entry, and returns what it held. A load and a store are enough: only the
    /// owner of the cursor writes, and the MMUs only read.
    #[inline(always)]
    pub fn take(&mut self) -> Pte {
        let held = self.get();
        self.pte.store_no_new_page(Pte::NONE);
        held
    }
}

/// The entry at `ea` in `table`, for one who has the right to fill it.
///
/// # Safety
/// `table` is the leaf table for `ea` of some tree, and stays that while the entry is in use.
/// The entry is only looked at and filled: others may do the same.
#[inline(always)]
#[must_use]
pub unsafe fn entry_in<'c>(table: PhysAddr, ea: u64) -> Entry<'c> {
    let index = (ea >> PAGE_SHIFT) % (TABLE_BYTES / size_of::<AtomicPte>() as u64);
    // SAFETY: inside the table.
    Entry { ea, pte: unsafe { &*table.as_mut_ptr::<AtomicPte>().add(index as usize) } }
}

/// Makes PTE stores of this CPU visible to its own table walks: after filling
/// entries, before the access that faulted is tried again. Without it that access
/// may fault once more, which costs more than this.
#[inline]
pub fn after_store() {
    isa::ptesync();
}
