//! Two trees side by side: a fork goes through the parent's entries and fills the child's.

use super::super::entry::AtomicPte;
use super::super::tree::{OutOfMemory, ROOT_LEVEL, RadixTree, TableSource, shift};
use super::{Cursor, Entry};
use crate::addr::PAGE_SHIFT;

/// Entries that are looked at together: most of a stack or a heap is not mapped.
const TOGETHER: usize = 8;

impl Cursor<'_> {
    /// Calls `f` with the entry of every page that is mapped in the range, and with that of the
    /// same address in the tree of `other`, in order. Makes the tables that are missing there.
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
        let mut at = self.range.start;
        while at < self.range.end {
            let (table_end, first) = leaf_table(self.tree, at);
            let end = table_end.min(self.range.end);
            if let Some(first) = first {
                // SAFETY: the entries from `first` on to the end of its table.
                let own = unsafe { core::slice::from_raw_parts(first, ((end - at) >> PAGE_SHIFT) as usize) };
                pairs(own, at, other, source, &mut f)?;
            }
            at = end;
        }
        Ok(())
    }
}

/// The end of the addresses that the level-0 table of `ea` serves, and its entry for `ea`. Where
/// the table is missing: the end of those that the missing table of any level would serve.
fn leaf_table(tree: &RadixTree, ea: u64) -> (u64, Option<*const AtomicPte>) {
    let mut table = tree.root();
    for level in (1..=ROOT_LEVEL).rev() {
        let pte = tree.entry(table, level, ea).load();
        assert!(!pte.is_leaf(), "a large page at {ea:#x}");
        if !pte.is_valid() {
            return ((ea | ((1 << shift(level)) - 1)) + 1, None);
        }
        table = pte.next_table();
    }
    ((ea | ((1 << shift(1)) - 1)) + 1, Some(tree.entry(table, 0, ea)))
}

/// Calls `f` for the mapped entries of `own`, a part of a level-0 table that begins with `start`.
#[inline]
fn pairs(
    own: &[AtomicPte],
    start: u64,
    other: &mut Cursor<'_>,
    source: &mut dyn TableSource,
    f: &mut impl FnMut(Entry<'_>, Entry<'_>),
) -> Result<(), OutOfMemory> {
    let mut copies: *const AtomicPte = core::ptr::null();
    for (turn, entries) in own.chunks(TOGETHER).enumerate() {
        if entries.iter().fold(0, |all, entry| all | entry.load().0) == 0 {
            continue;
        }
        let first = turn * TOGETHER;
        if copies.is_null() {
            copies = other.tree.walk_alloc(start, source)?;
        }
        for (index, pte) in (first..).zip(entries) {
            if pte.load().is_leaf() {
                let ea = start + ((index as u64) << PAGE_SHIFT);
                // SAFETY: in the table of `copies`, which serves the addresses of `own`.
                let copy = unsafe { &*copies.add(index) };
                f(Entry { ea, pte }, Entry { ea, pte: copy });
            }
        }
    }
    Ok(())
}
