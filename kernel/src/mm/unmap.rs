//! Taking mappings away: pages, and the tables that nothing needs any more.

use core::ops::Range;

use powerpc64::encoding::pte::Pte;

use super::address_space::Map;
use super::gather::Gather;

/// What one entry of the root covers.
const ROOT_ENTRY: u64 = 1 << 39;

impl Map {
    /// Takes the pages in `range` out of the tree. Areas and tables stay.
    pub(super) fn unmap_pages(&mut self, range: Range<u64>, gather: &mut Gather) {
        let (tree, resident) = (self.tree(), &mut self.resident);
        tree.for_each_leaf(range, |ea, entry, _| {
            gather.unmapped(ea, entry.swap(Pte::NONE));
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
            self.detach_tables_around(&range, gather);
        }
    }

    fn detach_tables_around(&self, range: &Range<u64>, gather: &mut Gather) {
        let gap = self.areas.gap_around(range);
        // Tables above the neighbourhood of `range` went when what they served did.
        let start = gap.start.max(range.start & !(ROOT_ENTRY - 1));
        let end = gap.end.min(range.end.next_multiple_of(ROOT_ENTRY));
        self.tree().detach_tables(start..end, |table| gather.detached(table));
    }

    /// Empties the tree, up to its root. The areas are left for the caller.
    pub(super) fn unmap_everything(&mut self, gather: &mut Gather) {
        let (tree, resident) = (self.tree(), &mut self.resident);
        for area in self.areas.iter() {
            tree.for_each_leaf(area.range(), |ea, entry, _| {
                gather.unmapped(ea, entry.swap(Pte::NONE));
                *resident -= 1;
            });
        }
        // Tables exist only where areas are. Root entry by root entry: areas that
        // share one find it empty.
        for area in self.areas.iter() {
            let around = area.start & !(ROOT_ENTRY - 1)..area.end.next_multiple_of(ROOT_ENTRY);
            tree.detach_tables(around, |table| gather.detached(table));
        }
    }
}
