//! A radix tree: 13, 9, 9 and 9 index bits, leaves of 4 KiB, 2 MiB or 1 GiB.
//!
//! The MMUs of all CPUs read entries at any time, without locks. So entries are atomics, and a
//! table is complete before an entry points to it. The one way to write an entry of a user's
//! tree is a [`Cursor`], except for an empty entry ([`entry_in`](super::cursor::entry_in)). Tables
//! are *added* without a lock: if two CPUs need one at once, one
//! table wins. Only the owner of a cursor takes tables away, and their memory is reused only
//! after a flush that covers the page-walk caches.

use super::cursor::Cursor;
use super::cursor::leaf_tables::Parts;
use super::cursor::visit::TOGETHER;
use super::entry::AtomicPte;
use crate::addr::PhysAddr;
use crate::encoding::PageSize;
use crate::encoding::pte::{Pte, ROOT_BITS, ROOT_BYTES, TABLE_BITS, TABLE_BYTES};
use core::ops::Range;

/// Where tables come from and go to. Both in the linear map.
pub trait TableSource {
    /// `bytes` (4096, or 65536 for a root) of zeroed memory, aligned to its size.
    fn alloc(&mut self, bytes: u64) -> Option<PhysAddr>;
    /// Takes a table back.
    ///
    /// # Safety
    /// `alloc` gave it, for so many `bytes`, and nothing translates through it any more. A root is
    /// full of zeroes again.
    unsafe fn free(&mut self, table: PhysAddr, bytes: u64);
    /// Entries in these parts of the leaf table `table` may be filled from now on. A walk looks at no
    /// other part.
    fn filling(&mut self, table: PhysAddr, parts: Parts);
}

/// The tree's owner, as a walk asks it.
#[derive(Clone, Copy, Debug)]
pub struct Owner {
    /// Called with each leaf table before [`Cursor::visit`] looks at its entries.
    pub before: fn(PhysAddr),
    /// The parts of a leaf table that may have entries ([`TableSource::filling`]); after `before`.
    pub parts: fn(PhysAddr) -> Parts,
}

/// No memory for a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfMemory;

/// The level of a table: 3 is the root, the entries of level 0 map 4 KiB pages.
type Level = u32;
/// The level of the root.
pub const ROOT_LEVEL: u32 = 3;

pub(super) const fn shift(level: Level) -> u32 {
    12 + TABLE_BITS * level
}

const fn leaf_size(level: Level) -> PageSize {
    match level {
        0 => PageSize::Size4K,
        1 => PageSize::Size2M,
        2 => PageSize::Size1G,
        _ => panic!("no leaves in the root"),
    }
}

/// A tree, by its root table of 64 KiB. There is one value for each tree: to lend it out
/// mutably is to lend the right to write it. Dropping it frees nothing.
#[derive(Debug)]
pub struct RadixTree {
    root: PhysAddr,
}

impl RadixTree {
    /// A new, empty tree.
    ///
    /// # Errors
    /// [`OutOfMemory`].
    pub fn new(source: &mut dyn TableSource) -> Result<Self, OutOfMemory> {
        source.alloc(ROOT_BYTES).map(|root| RadixTree { root }).ok_or(OutOfMemory)
    }

    /// The root table, for the process table.
    #[must_use]
    pub fn root(&self) -> PhysAddr {
        self.root
    }

    /// The right to write the entries of `range`, for as long as the tree is borrowed.
    #[inline(always)]
    pub fn cursor(&mut self, range: Range<u64>, owner: Owner) -> Cursor<'_> {
        Cursor::new(self, range, owner)
    }

    /// As [`RadixTree::cursor`], for two ranges at once.
    ///
    /// # Panics
    /// If they overlap.
    pub fn cursors(&mut self, one: Range<u64>, other: Range<u64>, owner: Owner) -> (Cursor<'_>, Cursor<'_>) {
        assert!(one.end <= other.start || other.end <= one.start, "two cursors for {one:x?} and {other:x?}");
        (Cursor::new(self, one, owner), Cursor::new(self, other, owner))
    }

    /// What the leaf at `ea`, or the empty entry there, holds now. None where a table is
    /// missing.
    #[must_use]
    pub fn look(&self, ea: u64) -> Option<Pte> {
        self.walk(ea).map(AtomicPte::load)
    }

    /// Calls `f` with the address, the contents and the size of every leaf in `range`, in
    /// order. Absent tables cost one load each.
    pub fn for_each_leaf(&self, range: Range<u64>, mut f: impl FnMut(u64, Pte, PageSize)) {
        self.leaves_in(range, |ea, entry, size| f(ea, entry.load(), size));
    }

    /// The leaf, or the empty level-0 entry, at `ea`. None where a table is
    /// missing. The reference is good until the tables of this range go.
    #[inline]
    pub(super) fn walk(&self, ea: u64) -> Option<&AtomicPte> {
        let mut table = self.root;
        for level in (0..=ROOT_LEVEL).rev() {
            let entry = self.entry(table, level, ea);
            let pte = entry.load();
            if level == 0 || pte.is_leaf() {
                return Some(entry);
            }
            if !pte.is_valid() {
                return None;
            }
            table = pte.next_table();
        }
        None
    }

    /// Maps one page of `size` that is not mapped yet, in the kernel's tree: the owner
    /// of the address writes its entry.
    ///
    /// # Errors
    /// [`OutOfMemory`].
    pub(super) fn map(
        &self,
        ea: u64,
        size: PageSize,
        leaf: Pte,
        source: &mut dyn TableSource,
    ) -> Result<(), OutOfMemory> {
        let level = (size.shift() - 12) / TABLE_BITS;
        assert_eq!(leaf_size(level), size, "a leaf size without a level");
        let entry = self.walk_to(ea, level, source)?;
        assert!(!entry.load().is_valid(), "{ea:#x} is mapped already");
        entry.store(leaf);
        Ok(())
    }

    /// The leaf, or the empty level-0 entry, at `ea`. Makes the tables that are missing.
    ///
    /// # Errors
    /// [`OutOfMemory`]. Tables made so far stay; they are empty and harmless.
    #[inline]
    pub(super) fn walk_alloc(
        &self,
        ea: u64,
        source: &mut dyn TableSource,
    ) -> Result<&AtomicPte, OutOfMemory> {
        self.walk_to(ea, 0, source)
    }

    #[inline]
    fn walk_to(
        &self,
        ea: u64,
        target: Level,
        source: &mut dyn TableSource,
    ) -> Result<&AtomicPte, OutOfMemory> {
        let mut table = self.root;
        for level in (target + 1..=ROOT_LEVEL).rev() {
            let entry = self.entry(table, level, ea);
            let pte = entry.load();
            if pte.is_leaf() {
                return Ok(entry);
            }
            table = if pte.is_valid() { pte.next_table() } else { add_table(entry, source)? };
        }
        Ok(self.entry(table, target, ea))
    }

    #[inline]
    pub(super) fn entry(&self, table: PhysAddr, level: Level, ea: u64) -> &AtomicPte {
        let bits = if level == ROOT_LEVEL { ROOT_BITS } else { TABLE_BITS };
        let index = (ea >> shift(level)) as usize & ((1 << bits) - 1);
        // SAFETY: `table` is a table of this level: the root, or named by a valid
        // entry, and tables outlive their users (module comment).
        unsafe { &*table.as_mut_ptr::<AtomicPte>().add(index) }
    }

    /// The entries of a leaf table that serve `range`.
    fn entries(&self, table: PhysAddr, range: &Range<u64>) -> &[AtomicPte] {
        let first = self.entry(table, 0, range.start);
        let len = (range.end - range.start) >> shift(0);
        // SAFETY: `range` is not empty, and all of it is served by this table.
        unsafe { core::slice::from_raw_parts(first, len as usize) }
    }

    /// Calls `f` with the address, the entry and the size of every leaf in `range`.
    fn leaves_in(&self, range: Range<u64>, mut f: impl FnMut(u64, &AtomicPte, PageSize)) {
        let mut at = range.start;
        while at < range.end {
            let (mut table, mut level) = (self.root, ROOT_LEVEL);
            // The leaf table for `at`, or the entry above where there is none.
            let missing = loop {
                let entry = self.entry(table, level, at);
                let pte = entry.load();
                if !pte.is_valid() || pte.is_leaf() {
                    break Some((entry, pte));
                }
                (table, level) = (pte.next_table(), level - 1);
                if level == 0 {
                    break None;
                }
            };
            let next = (at | ((1 << shift(level.max(1))) - 1)).saturating_add(1).min(range.end);
            match missing {
                None => {
                    mapped(self.entries(table, &(at..next))).for_each(|(index, entry)| {
                        f(at + (index << shift(0)), entry, PageSize::Size4K);
                    });
                }
                Some((entry, pte)) if pte.is_leaf() => f(at, entry, leaf_size(level)),
                Some(_) => {}
            }
            at = next;
        }
    }

    /// Shows `apart` each leaf table that serves addresses of `range`, and takes out the tables that serve
    /// no address outside `unused`.
    #[inline(always)]
    pub(super) fn take_apart(&self, range: Range<u64>, unused: &Range<u64>, apart: &mut impl TakeApart) {
        let is_unused = |served: Range<u64>| unused.start <= served.start && served.end <= unused.end;
        self.tables_in::<ROOT_LEVEL>(self.root, range, |served, range, entry, table| {
            self.tables_in::<2>(table, range, |served, range, entry, table| {
                self.tables_in::<1>(table, range, |served, range, entry, table| {
                    apart.leaf_table(table, range);
                    if is_unused(served) {
                        entry.store(Pte::NONE);
                        apart.gone(table);
                    }
                });
                if is_unused(served) {
                    entry.store(Pte::NONE);
                    apart.gone(table);
                }
            });
            if is_unused(served) {
                entry.store(Pte::NONE);
                apart.gone(table);
            }
        });
    }

    /// Calls `f` for each entry of `table`, of level `LEVEL`, that serves addresses of `range` and names a
    /// table: with the addresses that it serves, those of `range`, the entry and the table.
    #[inline(always)]
    fn tables_in<const LEVEL: Level>(
        &self,
        table: PhysAddr,
        range: Range<u64>,
        mut f: impl FnMut(Range<u64>, Range<u64>, &AtomicPte, PhysAddr),
    ) {
        let span = 1 << shift(LEVEL);
        let mut at = range.start;
        while at < range.end {
            let (entry, first) = (self.entry(table, LEVEL, at), at & !(span - 1));
            let served = first..first + span;
            let pte = entry.load();
            let end = range.end.min(served.end);
            if pte.is_valid() && !pte.is_leaf() {
                f(served, at..end, entry, pte.next_table());
            }
            at = end;
        }
    }

    /// Frees the root of a tree that maps nothing: cursors have taken out its other tables.
    ///
    /// # Safety
    /// No process-table entry names the tree, and the flush (RIC 2) that follows
    /// such a change is complete on every CPU that had it loaded.
    pub unsafe fn free(self, source: &mut dyn TableSource) {
        // SAFETY: `new` had the root from such a source, its entries went with the tables, and the
        // rest is the caller's promise.
        unsafe { source.free(self.root, ROOT_BYTES) };
    }
}

/// What is done with the tables of a part of a tree.
pub(super) trait TakeApart {
    /// A leaf table, which serves the addresses of the range among others.
    fn leaf_table(&mut self, table: PhysAddr, range: Range<u64>);

    /// A table was taken out.
    fn gone(&mut self, table: PhysAddr);
}

/// Puts a new table under `entry`; if another CPU was faster, takes its table.
fn add_table(entry: &AtomicPte, source: &mut dyn TableSource) -> Result<PhysAddr, OutOfMemory> {
    let table = source.alloc(TABLE_BYTES).ok_or(OutOfMemory)?;
    // `replace` orders the table's zeroes before the pointer to it (F50).
    match entry.replace(Pte::NONE, Pte::table(table)) {
        Ok(()) => Ok(table),
        Err(other) => {
            // SAFETY: just allocated, and no entry names it.
            unsafe { source.free(table, TABLE_BYTES) };
            Ok(other.next_table())
        }
    }
}

/// The entries that map a page, of a part of a level-0 table, and their places in it.
#[inline]
fn mapped(entries: &[AtomicPte]) -> impl Iterator<Item = (u64, &AtomicPte)> {
    let (groups, rest) = entries.as_chunks::<TOGETHER>();
    let groups = groups.iter().filter(|group| group.iter().fold(0, |all, pte| all | pte.load().0) != 0);
    groups.flatten().chain(rest).filter(|pte| pte.load().is_leaf()).map(|pte| {
        // SAFETY: it is one of `entries`.
        let index = unsafe { core::ptr::from_ref(pte).offset_from_unsigned(entries.as_ptr()) };
        (index as u64, pte)
    })
}
