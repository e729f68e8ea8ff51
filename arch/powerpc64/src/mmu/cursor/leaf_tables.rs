//! Whole level-0 tables, for those who go through many entries. A fork goes through the parent's
//! and the child's side by side.

use super::super::entry::AtomicPte;
use super::super::tree::{OutOfMemory, ROOT_LEVEL, RadixTree, TOGETHER, TableSource, mapped, shift};
use super::{Cursor, Entry};
use crate::addr::{PAGE_SHIFT, PhysAddr};
use crate::encoding::pte::TABLE_BITS;

/// The bytes that a level-0 table serves.
pub const TABLE_SPAN: u64 = 1 << shift(1);

/// The right to write the entries of one level-0 table, in the cursor's range.
#[derive(Debug)]
pub struct LeafTable<'c> {
    /// The first address that it serves.
    start: u64,
    entries: &'c [AtomicPte; 1 << TABLE_BITS],
}

impl LeafTable<'_> {
    /// The entry at `ea`, which the table serves.
    #[inline]
    pub fn entry(&mut self, ea: u64) -> Entry<'_> {
        Entry { ea, pte: &self.entries[((ea - self.start) >> PAGE_SHIFT) as usize] }
    }
}

impl Cursor<'_> {
    /// The table that serves `ea`, in the range; makes the tables that are missing.
    ///
    /// # Errors
    /// [`OutOfMemory`]. Tables made so far stay; they are empty and harmless.
    #[inline]
    pub fn leaf_table(
        &mut self,
        ea: u64,
        source: &mut dyn TableSource,
    ) -> Result<LeafTable<'_>, OutOfMemory> {
        let start = ea & !(TABLE_SPAN - 1);
        let first = core::ptr::from_ref(self.tree.walk_alloc(start, source)?);
        // SAFETY: the first entry of its table, which stays while the cursor is borrowed.
        Ok(LeafTable { start, entries: unsafe { &*first.cast() } })
    }

    /// Calls `f` with the entry of every page that is mapped in the range, and with that of the
    /// same address in the tree of `other`, in order. Makes the tables that are missing there.
    /// Nobody fills entries of the other tree meanwhile.
    ///
    /// # Errors
    /// [`OutOfMemory`]. `f` was called for the pages before.
    #[inline]
    pub fn for_each_pair(
        &mut self,
        other: &mut Cursor<'_>,
        source: &mut dyn TableSource,
        mut f: impl FnMut(Entry<'_>, Entry<'_>),
    ) -> Result<(), OutOfMemory> {
        self.for_each_table(|start, own| pairs(own, start, other, source, &mut f))
    }

    /// Calls `f` with the part of each level-0 table that serves addresses of the range, after their
    /// first. Absent tables cost one load each.
    ///
    /// # Errors
    /// The first of `f`, which is not called again then.
    #[inline]
    pub(super) fn for_each_table<E>(
        &mut self,
        mut f: impl FnMut(u64, &[AtomicPte]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut at = self.range.start;
        while at < self.range.end {
            let (table_end, first) = find_table(self.tree, at);
            let end = table_end.min(self.range.end);
            if let Some((table, first)) = first {
                (self.before)(table);
                // SAFETY: the entries from `first` on, to the end of its table at most.
                let own = unsafe { core::slice::from_raw_parts(first, ((end - at) >> PAGE_SHIFT) as usize) };
                f(at, own)?;
            }
            at = end;
        }
        Ok(())
    }
}

/// The end of the addresses that the level-0 table of `ea` serves, the table, and its entry for `ea`. Where
/// the table is missing: the end of those that the missing table of any level would serve.
fn find_table(tree: &RadixTree, ea: u64) -> (u64, Option<(PhysAddr, *const AtomicPte)>) {
    let mut table = tree.root();
    for level in (1..=ROOT_LEVEL).rev() {
        let pte = tree.entry(table, level, ea).load();
        assert!(!pte.is_leaf(), "a large page at {ea:#x}");
        if !pte.is_valid() {
            return ((ea | ((1 << shift(level)) - 1)) + 1, None);
        }
        table = pte.next_table();
    }
    ((ea | (TABLE_SPAN - 1)) + 1, Some((table, core::ptr::from_ref(tree.entry(table, 0, ea)))))
}

/// Calls `f` for the mapped entries of `own`, a part of a level-0 table that begins with `start`. A
/// loop by hand, with one call of `f`: a chain of iterators would not inline it.
#[inline(always)]
fn pairs(
    own: &[AtomicPte],
    start: u64,
    other: &mut Cursor<'_>,
    source: &mut dyn TableSource,
    f: &mut impl FnMut(Entry<'_>, Entry<'_>),
) -> Result<(), OutOfMemory> {
    let Some((first, _)) = mapped(own).next() else { return Ok(()) };
    let table = other.leaf_table(start, source)?;
    let copies = &table.entries[((start - table.start) >> PAGE_SHIFT) as usize..][..own.len()];
    let mut index = first as usize;
    while index < own.len() {
        if let Some(group) = own[index..].first_chunk::<TOGETHER>()
            && group.iter().fold(0, |all, pte| all | pte.load().0) == 0
        {
            index += TOGETHER;
            continue;
        }
        for index in index..own.len().min(index + TOGETHER) {
            let (ea, pte) = (start + ((index as u64) << PAGE_SHIFT), &own[index]);
            if pte.load().is_leaf() {
                f(Entry { ea, pte }, Entry { ea, pte: &copies[index] });
            }
        }
        index += TOGETHER;
    }
    Ok(())
}
