//! Taking mappings away: pages, and the tables that nothing needs any more.

use core::ops::Range;

use kcore::mm::MmId;

use super::address_space::{self, Map};
use super::gather::Gather;
use super::mmap::user_range;
use crate::errno::Errno;

/// Linux's `munmap`. Unmapped pieces in the range are no error. May sleep.
///
/// # Errors
/// `EINVAL` for an odd range, `ENOMEM` without memory to cut an area in two.
pub(crate) fn munmap(mm: MmId, start: u64, len: u64) -> Result<(), Errno> {
    let range = user_range(start, len, Errno::EINVAL)?;
    let mut map = address_space::lock(mm);
    // Nothing is cut where the range is an area.
    if !map.areas.is_at_hand(&range) {
        map.make_room(&range)?;
    }
    map.unmap(range);
    Ok(())
}

impl Map {
    /// Takes areas and pages in `range` away, and the tables that then lie wholly
    /// between the areas that are left. May wait for other CPUs.
    // Not inlined: the gather would lie on the stack of each caller.
    #[inline(never)]
    pub(super) fn unmap(&mut self, range: Range<u64>) {
        self.unmap_after(range, &mut Gather::new(self.mm));
    }

    /// As [`Map::unmap`], with one flush for it and for all that is in `gather`.
    #[inline(always)]
    pub(super) fn unmap_after(&mut self, range: Range<u64>, gather: &mut Gather) {
        let Some(unused) = self.areas.gap_without(&range) else { return };
        self.tables.take(range.clone(), gather);
        self.tables.detach_tables(range.clone(), &unused, gather);
        // The flush comes before the areas go, which take us off the lists of their objects'
        // mappers. A cut of a file relies on that: an address space that is not on the list
        // cannot read the file.
        gather.flush_and_free();
        self.areas.remove(&range);
    }

    /// Empties the tree, up to its root. The areas are left for the caller.
    pub(super) fn unmap_everything(&mut self, gather: &mut Gather) {
        let mut areas = self.areas.iter().peekable();
        while let Some(area) = areas.next() {
            self.tables.take(area.range(), gather);
            // As if the areas went one by one, the lowest first: a table goes with the last area
            // that it serves.
            let unused = 0..areas.peek().map_or(u64::MAX, |next| next.start);
            self.tables.detach_tables(area.range(), &unused, gather);
        }
    }
}
