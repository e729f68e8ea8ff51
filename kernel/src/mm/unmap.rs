//! Taking mappings away: pages, and the tables that nothing needs any more.

use core::ops::Range;

use powerpc64::encoding::pte::Pte;
use powerpc64::mmu::tree::AtomicPte;

use super::address_space::Map;
use super::gather::Gather;

/// Empties an entry. Not atomic: the lock is held, and the MMUs only read.
#[inline(always)]
fn take(entry: &AtomicPte) -> Pte {
    let old = entry.load();
    entry.store(Pte::NONE);
    old
}

impl Map {
    /// Takes the pages in `range` out of the tree. Areas and tables stay.
    pub(super) fn unmap_pages(&mut self, range: Range<u64>, gather: &mut Gather) {
        let (tree, resident) = (self.tree(), &mut self.resident);
        tree.for_each_leaf(range, |ea, entry, _| {
            gather.unmapped(ea, take(entry));
            *resident -= 1;
        });
    }

    /// Takes areas and pages in `range` away, and the tables that then lie wholly
    /// between the areas that are left.
    pub(super) fn unmap(&mut self, range: Range<u64>, gather: &mut Gather) {
        let mut any = false;
        // Objects may lose their last reference here; mapped pages of theirs have
        // references of their own until they are flushed.
        self.areas.remove(&range, |_| any = true);
        if any {
            self.unmap_pages(range.clone(), gather);
            self.detach_tables(&range, gather);
        }
    }

    /// Of the tables that served `range`, those that serve no area any more.
    fn detach_tables(&self, range: &Range<u64>, gather: &mut Gather) {
        let unused = self.areas.gap_around(range);
        self.tree().detach_tables(range.clone(), unused, |table| gather.detached(table));
    }

    /// Empties the tree, up to its root. The areas are left for the caller.
    pub(super) fn unmap_everything(&mut self, gather: &mut Gather) {
        let (tree, resident) = (self.tree(), &mut self.resident);
        let mut areas = self.areas.iter().peekable();
        while let Some(area) = areas.next() {
            tree.for_each_leaf(area.range(), |ea, entry, _| {
                gather.unmapped(ea, take(entry));
                *resident -= 1;
            });
            // As if the areas went one by one, the lowest first: a table goes with
            // the last one that it serves.
            let unused = 0..areas.peek().map_or(u64::MAX, |next| next.start);
            tree.detach_tables(area.range(), unused, |table| gather.detached(table));
        }
    }
}
