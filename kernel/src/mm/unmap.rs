//! Taking mappings away: pages, and the tables that nothing needs any more.

use core::ops::Range;

use super::address_space::Map;
use super::gather::Gather;

impl Map {
    /// Takes areas and pages in `range` away, and the tables that then lie wholly
    /// between the areas that are left. May wait for other CPUs.
    pub(super) fn unmap(&mut self, range: Range<u64>) {
        if !self.areas.is_free(&range) {
            self.unmap_after(range, &mut Gather::new(self.mm));
        }
    }

    /// As [`Map::unmap`], with one flush for what was `gathered` before, too.
    pub(super) fn unmap_after(&mut self, range: Range<u64>, gather: &mut Gather) {
        self.pages.take(range.clone(), gather);
        let unused = self.areas.gap_without(&range);
        self.pages.detach_tables(range.clone(), &unused, gather);
        // The flush comes before the areas go, and with them we from the lists of the
        // objects' mappers: who cuts a file counts on it that those who are not on the
        // list cannot read it.
        gather.flush_and_free();
        self.areas.remove(&range, |_| {});
    }

    /// Empties the tree, up to its root. The areas are left for the caller.
    pub(super) fn unmap_everything(&mut self, gather: &mut Gather) {
        let mut areas = self.areas.iter().peekable();
        while let Some(area) = areas.next() {
            self.pages.take(area.range(), gather);
            // As if the areas went one by one, the lowest first: a table goes with
            // the last one that it serves.
            let unused = 0..areas.peek().map_or(u64::MAX, |next| next.start);
            self.pages.detach_tables(area.range(), &unused, gather);
        }
    }
}
