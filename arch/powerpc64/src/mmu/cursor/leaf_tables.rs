//! Whole level-0 tables, for those who go through many entries. A fork goes through the parent's
//! and the child's side by side.

use core::ops::Range;

use super::super::entry::AtomicPte;
use super::super::tree::{OutOfMemory, Owner, ROOT_LEVEL, RadixTree, TableSource, shift};
use super::visit::{Eight, TOGETHER, are_empty};
use super::{Cursor, Entry};
use crate::addr::{PAGE_SHIFT, PhysAddr};
use crate::encoding::pte::TABLE_BITS;

/// The bytes that a level-0 table serves.
pub const TABLE_SPAN: u64 = 1 << shift(1);
/// The bytes that a part of one serves.
pub const PART_SPAN: u64 = TABLE_SPAN / Parts::COUNT;

/// Some of the parts of a level-0 table: a bit for each, the lowest for the first.
///
/// Most tables of stacks and heaps map a few pages. So their owner keeps for each which parts have
/// ever been given out to be filled, and walks skip the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parts(pub u16);

impl Parts {
    /// How many parts a table has.
    pub const COUNT: u64 = 16;

    /// Those that serve addresses of `range`, which one table serves and which is not empty.
    #[inline(always)]
    #[must_use]
    pub fn of(range: &Range<u64>) -> Self {
        let part = |ea: u64| (ea / PART_SPAN % Self::COUNT) as u32;
        Self((u16::MAX << part(range.start)) & (u16::MAX >> (Self::COUNT as u32 - 1 - part(range.end - 1))))
    }

    /// Those of them that serve addresses of `range`, as [`Parts::of`].
    #[inline(always)]
    fn within(self, range: &Range<u64>) -> Self {
        Self(self.0 & Self::of(range).0)
    }

    /// The addresses in `range`, which one table serves, of the first run of parts, and the parts behind it.
    #[inline(always)]
    fn first_run(self, range: &Range<u64>) -> Option<(Range<u64>, Self)> {
        if self.0 == 0 {
            return None;
        }
        let (table, bits) = (range.start & !(TABLE_SPAN - 1), u32::from(self.0));
        let first = bits.trailing_zeros();
        // The sum clears the bits of the run and sets the one behind.
        let behind = bits + (1 << first);
        let place = |part: u32| table + u64::from(part) * PART_SPAN;
        let run = place(first).max(range.start)..place(behind.trailing_zeros()).min(range.end);
        Some((run, Self((bits & behind) as u16)))
    }
}

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

/// What is done with the entries of pages that are mapped, and those of the same addresses in another
/// tree.
pub trait Pairs {
    /// The entries of a page.
    fn one(&mut self, entry: Entry<'_>, copy: Entry<'_>);

    /// Entries of neighbours, some of which map a page. False, and nothing is done, if [`Pairs::one`] is to
    /// see them one by one.
    fn eight(&mut self, entries: &Eight<'_>, copies: Copies<'_>) -> bool;
}

/// The entries of eight neighbours in another tree, which are empty.
#[derive(Debug)]
pub struct Copies<'c>(&'c [AtomicPte; TOGETHER]);

impl Copies<'_> {
    /// Makes them like `entries`.
    #[inline(always)]
    pub fn set(self, entries: &Eight<'_>) {
        for (copy, held) in self.0.iter().zip(entries.held()) {
            copy.store(*held);
        }
    }
}

impl Cursor<'_> {
    /// The table that serves `range`, in the cursor's range and in one table, whose entries the caller
    /// may fill; makes the tables that are missing.
    ///
    /// # Errors
    /// [`OutOfMemory`]. Tables made so far stay; they are empty and harmless.
    #[inline]
    pub fn leaf_table(
        &mut self,
        range: &Range<u64>,
        source: &mut dyn TableSource,
    ) -> Result<LeafTable<'_>, OutOfMemory> {
        let start = range.start & !(TABLE_SPAN - 1);
        Ok(LeafTable { start, entries: self.tree.leaf_table(range, source)? })
    }

    /// Shows `pairs` the entry of every page that is mapped in the range, and that of the same address
    /// in the tree of `other`, in order. Makes the tables that are missing there. Nobody fills entries
    /// of the other tree meanwhile.
    ///
    /// # Errors
    /// [`OutOfMemory`]. `pairs` has seen the pages before.
    #[inline]
    pub fn for_each_pair(
        &mut self,
        other: &mut Cursor<'_>,
        source: &mut dyn TableSource,
        pairs: &mut impl Pairs,
    ) -> Result<(), OutOfMemory> {
        self.for_each_table(|start, own| pairs_of(own, start, other, source, pairs))
    }

    /// Calls `f` with pieces of the level-0 tables that serve addresses of the range, after their first:
    /// all entries that map a page are in one. Absent tables cost one load each.
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
                self.owner.pieces(table, first, &(at..end), &mut f)?;
            }
            at = end;
        }
        Ok(())
    }
}

impl Owner {
    /// As [`Cursor::for_each_table`], for the part `range` of `table`, which begins with the entry `first`.
    #[inline(always)]
    pub(super) fn pieces<E>(
        self,
        table: PhysAddr,
        first: *const AtomicPte,
        range: &Range<u64>,
        f: &mut impl FnMut(u64, &[AtomicPte]) -> Result<(), E>,
    ) -> Result<(), E> {
        (self.before)(table);
        let place = |ea: u64| ((ea - range.start) >> PAGE_SHIFT) as usize;
        // SAFETY: the entries from `first` on, to the end of its table at most.
        let own = unsafe { core::slice::from_raw_parts(first, place(range.end)) };
        // One part is looked at whether it has entries or not.
        let mut next = match range.start / PART_SPAN == (range.end - 1) / PART_SPAN {
            true => Some((range.clone(), Parts(0))),
            false => (self.parts)(table).within(range).first_run(range),
        };
        while let Some((run, behind)) = next {
            f(run.start, &own[place(run.start)..place(run.end)])?;
            next = behind.first_run(range);
        }
        Ok(())
    }
}

impl RadixTree {
    /// See [`Cursor::leaf_table`].
    #[inline]
    fn leaf_table(
        &self,
        range: &Range<u64>,
        source: &mut dyn TableSource,
    ) -> Result<&[AtomicPte; 1 << TABLE_BITS], OutOfMemory> {
        let first = Entry { ea: range.start, pte: self.walk_alloc(range.start & !(TABLE_SPAN - 1), source)? };
        source.filling(first.table(), Parts::of(range));
        // SAFETY: the first entry of its table, which stays while the tree is borrowed.
        Ok(unsafe { &*core::ptr::from_ref(first.pte).cast() })
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

/// Shows `pairs` the mapped entries of `own`, a part of a level-0 table that begins with `start`. A
/// loop by hand, with one call of each function: a chain of iterators would not inline them.
#[inline(always)]
fn pairs_of(
    own: &[AtomicPte],
    start: u64,
    other: &mut Cursor<'_>,
    source: &mut dyn TableSource,
    pairs: &mut impl Pairs,
) -> Result<(), OutOfMemory> {
    let mut copies: Option<&[AtomicPte]> = None;
    for (number, group) in own.chunks(TOGETHER).enumerate() {
        let first = number * TOGETHER;
        let ea = start + ((first as u64) << PAGE_SHIFT);
        let eight = group.first_chunk();
        if eight.is_some_and(are_empty) {
            continue;
        }
        let copies = match copies {
            Some(copies) => copies,
            None => {
                let end = start + ((own.len() as u64) << PAGE_SHIFT);
                let table = other.tree.leaf_table(&(start..end), source)?;
                let offset = ((start % TABLE_SPAN) >> PAGE_SHIFT) as usize;
                *copies.insert(&table[offset..offset + own.len()])
            }
        };
        let copies = &copies[first..first + group.len()];
        if let (Some(eight), Some(copies)) = (eight, copies.first_chunk())
            && pairs.eight(&Eight::look(eight, ea), Copies(copies))
        {
            continue;
        }
        for (index, (pte, copy)) in group.iter().zip(copies).enumerate() {
            let ea = ea + ((index as u64) << PAGE_SHIFT);
            if pte.load().is_leaf() {
                pairs.one(Entry { ea, pte }, Entry { ea, pte: copy });
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runs(parts: u16, range: Range<u64>) -> Vec<Range<u64>> {
        let mut runs = Vec::new();
        let mut left = Parts(parts).within(&range);
        while let Some((run, behind)) = left.first_run(&range) {
            runs.push(run);
            left = behind;
        }
        runs
    }

    #[test]
    fn parts_of_a_range() {
        let base = 5 * TABLE_SPAN;
        assert_eq!(Parts::of(&(base..base + TABLE_SPAN)), Parts(0xffff));
        assert_eq!(Parts::of(&(base..base + 0x1000)), Parts(1));
        assert_eq!(Parts::of(&(base + PART_SPAN - 0x1000..base + PART_SPAN + 0x1000)), Parts(0b11));
        assert_eq!(Parts::of(&(base + TABLE_SPAN - 0x1000..base + TABLE_SPAN)), Parts(0x8000));
    }

    #[test]
    fn runs_of_parts() {
        let (base, part) = (5 * TABLE_SPAN, PART_SPAN);
        let whole = base..base + TABLE_SPAN;
        assert_eq!(runs(0, whole.clone()), []);
        assert_eq!(runs(0xffff, whole.clone()), [whole.clone()]);
        let ends = [base..base + part, base + 15 * part..base + 16 * part];
        assert_eq!(runs(0x8001, whole), ends);
        let cut = base + part / 2..base + 7 * part / 2;
        assert_eq!(runs(0b1110, cut.clone()), [base + part..cut.end]);
        assert_eq!(runs(0b1011, cut.clone()), [cut.start..base + 2 * part, base + 3 * part..cut.end]);
    }
}
