//! A radix tree: 13, 9, 9 and 9 index bits, leaves of 4 KiB, 2 MiB or 1 GiB.
//!
//! Entries are read by the MMUs of all CPUs at any time, without locks. So they
//! are atomics, and a table is complete before an entry points to it. Tables are
//! *added* without a lock (two CPUs that fault at once: one table wins); taking
//! them away is for the owner alone, and the memory is reused only after a flush
//! that covers the page-walk caches.

use super::observer;
use crate::addr::{PhysAddr, VirtAddr};
use crate::encoding::PageSize;
use crate::encoding::pte::{Pte, ROOT_BITS, ROOT_BYTES, TABLE_BITS, TABLE_BYTES};
use crate::isa;
use core::ops::Range;
use core::sync::atomic::{AtomicU64, Ordering};

/// Where tables come from and go to. Both in the linear map.
pub trait TableSource {
    /// `bytes` (4096, or 65536 for a root) of zeroed memory, aligned to its size.
    fn alloc(&mut self, bytes: u64) -> Option<PhysAddr>;
    /// Takes a table back.
    ///
    /// # Safety
    /// `alloc` gave it, of this size, and nothing translates through it any more.
    unsafe fn free(&mut self, table: PhysAddr, bytes: u64);
}

/// No memory for a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfMemory;

/// One entry of the tree, in memory.
#[derive(Debug)]
#[repr(transparent)]
pub struct AtomicPte(AtomicU64);

impl AtomicPte {
    /// What the entry holds.
    #[inline]
    #[must_use]
    pub fn load(&self) -> Pte {
        Pte(self.0.load(Ordering::Relaxed))
    }

    /// Sets the entry. More permissions for the same page need no flush; what takes
    /// away, a cleared entry included, is flushed afterwards, which begins with the full
    /// barrier between this store and the read of who may hold the translation. Hardware
    /// sets no bit in it: R and C are preset. The page's contents are visible to whoever translates through the entry: release, whose partner is
    /// the address dependency of every access through the translation.
    ///
    /// The CPU's own next access may still not see it: that fault is spurious and
    /// tried again, [`after_store`] makes it unlikely.
    #[inline]
    pub fn store(&self, pte: Pte) {
        let old = if observer::ON { self.load() } else { Pte::NONE };
        self.0.store(pte.0, Ordering::Release);
        self.changed(old, pte);
    }

    /// As [`AtomicPte::store`], and returns what the entry was.
    #[inline]
    pub fn swap(&self, pte: Pte) -> Pte {
        let old = Pte(self.0.swap(pte.0, Ordering::AcqRel));
        self.changed(old, pte);
        old
    }

    /// Replaces the entry if it still is `current`.
    ///
    /// # Errors
    /// What it is instead.
    #[inline]
    pub fn replace(&self, current: Pte, new: Pte) -> Result<(), Pte> {
        let order = (Ordering::AcqRel, Ordering::Acquire);
        self.0.compare_exchange(current.0, new.0, order.0, order.1).map_err(Pte)?;
        self.changed(current, new);
        Ok(())
    }

    /// Behind the store, before the flush: the observer's rule.
    #[inline(always)]
    fn changed(&self, old: Pte, new: Pte) {
        observer::tell(|observer| {
            let here = VirtAddr(core::ptr::from_ref(self) as u64).to_phys();
            (observer.entry_changed)(here, old, new);
        });
    }
}

/// Makes PTE stores of this CPU visible to its own table walks: after filling
/// entries, before the access that faulted is tried again. Without it that access
/// may fault once more, which costs more than this.
#[inline]
pub fn after_store() {
    isa::ptesync();
}

/// The level of a table: 3 is the root, the entries of level 0 map 4 KiB pages.
type Level = u32;
/// The level of the root.
pub const ROOT_LEVEL: u32 = 3;

const fn shift(level: Level) -> u32 {
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

/// A tree, by its root table of 64 KiB. The value is a handle, as a reference is:
/// dropping it frees nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

    /// The leaf, or the empty level-0 entry, at `ea`. None where a table is
    /// missing. The reference is good until the tables of this range go.
    #[inline]
    #[must_use]
    pub fn walk(&self, ea: u64) -> Option<&AtomicPte> {
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

    /// As [`Self::walk`], making the tables that are missing.
    ///
    /// # Errors
    /// [`OutOfMemory`]. Tables made so far stay; they are empty and harmless.
    pub fn walk_alloc(&self, ea: u64, source: &mut dyn TableSource) -> Result<&AtomicPte, OutOfMemory> {
        self.walk_to(ea, 0, source)
    }

    /// Maps one page of `size` that is not mapped yet.
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
    fn entry(&self, table: PhysAddr, level: Level, ea: u64) -> &AtomicPte {
        let bits = if level == ROOT_LEVEL { ROOT_BITS } else { TABLE_BITS };
        let index = (ea >> shift(level)) as usize & ((1 << bits) - 1);
        // SAFETY: `table` is a table of this level: the root, or named by a valid
        // entry, and tables outlive their users (module comment).
        unsafe { &*table.as_mut_ptr::<AtomicPte>().add(index) }
    }

    /// Calls `f(ea, entry, size)` for every leaf that lies in `range`, in order.
    /// Absent tables cost one load each.
    pub fn for_each_leaf(&self, range: Range<u64>, mut f: impl FnMut(u64, &AtomicPte, PageSize)) {
        self.leaves(self.root, ROOT_LEVEL, range, &mut f);
    }

    fn leaves(
        &self,
        table: PhysAddr,
        level: Level,
        range: Range<u64>,
        f: &mut impl FnMut(u64, &AtomicPte, PageSize),
    ) {
        if level == 0 {
            // By far the most: base pages, all in this table.
            for ea in range.step_by(PageSize::Size4K.bytes() as usize) {
                let entry = self.entry(table, 0, ea);
                if entry.load().is_leaf() {
                    f(ea, entry, PageSize::Size4K);
                }
            }
            return;
        }
        for part in parts(range, level) {
            let entry = self.entry(table, level, part.start);
            let pte = entry.load();
            if pte.is_leaf() {
                f(part.start, entry, leaf_size(level));
            } else if pte.is_valid() {
                self.leaves(pte.next_table(), level - 1, part, f);
            }
        }
    }

    /// Takes tables out of the tree and calls `gone` with each: those that serve an
    /// address in `range` and none outside `unused`, which contains it. Nothing in
    /// `unused` is mapped any more, and nobody else changes the tree there
    /// meanwhile. Their memory (4 KiB each) may be reused after a flush with the
    /// page-walk cache (RIC 2, or 1 and the range).
    pub fn detach_tables(&self, range: Range<u64>, unused: Range<u64>, mut gone: impl FnMut(PhysAddr)) {
        self.detach(self.root, ROOT_LEVEL, range, &unused, &mut gone);
    }

    fn detach(
        &self,
        table: PhysAddr,
        level: Level,
        range: Range<u64>,
        unused: &Range<u64>,
        gone: &mut impl FnMut(PhysAddr),
    ) {
        for part in parts(range, level) {
            let entry = self.entry(table, level, part.start);
            let pte = entry.load();
            if !pte.is_valid() || pte.is_leaf() {
                continue;
            }
            let first = part.start & !((1 << shift(level)) - 1);
            let served = first..first + (1 << shift(level));
            if level > 1 {
                self.detach(pte.next_table(), level - 1, part, unused, gone);
            }
            if unused.start <= served.start && served.end <= unused.end {
                entry.swap(Pte::NONE);
                gone(pte.next_table());
            }
        }
    }
}

/// Puts a new table under `entry`; if another CPU was faster, takes its table.
fn add_table(entry: &AtomicPte, source: &mut dyn TableSource) -> Result<PhysAddr, OutOfMemory> {
    let table = source.alloc(TABLE_BYTES).ok_or(OutOfMemory)?;
    // The release in `replace` orders the table's zeroes before the pointer to
    // it; partner: the table walk, whose loads depend on the pointer.
    match entry.replace(Pte::NONE, Pte::table(table)) {
        Ok(()) => Ok(table),
        Err(other) => {
            // SAFETY: it is new, and nothing points to it.
            unsafe { source.free(table, TABLE_BYTES) };
            Ok(other.next_table())
        }
    }
}

/// Cuts `range` where the entries of `level` meet.
fn parts(range: Range<u64>, level: Level) -> impl Iterator<Item = Range<u64>> {
    let step = 1_u64 << shift(level);
    let mut start = range.start;
    core::iter::from_fn(move || {
        let end = range.end.min((start & !(step - 1)) + step);
        let part = start..end;
        start = end;
        (!part.is_empty()).then_some(part)
    })
}
