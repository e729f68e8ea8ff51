//! Taking mappings away: pages, and the tables that nothing needs any more.

use core::ops::Range;

use arch::mmu::cursor::leaf_tables::TABLE_SPAN;
use kcore::mm::MmId;
use vm::area::Area;
use vm::areas::AreaSet;

use super::address_space::{self, Map};
use super::backing::Backing;
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
    // Not inlined: the caller's stack frame has the gather.
    #[inline(never)]
    pub(super) fn unmap_everything(&mut self, gather: &mut Gather) {
        let mut runs = runs(&self.areas, |_| true).peekable();
        while let Some(run) = runs.next() {
            // As if the areas went one by one, the lowest first: a table goes with the last area
            // that it serves.
            let unused = 0..runs.peek().map_or(u64::MAX, |next| next.start);
            self.tables.take_apart(run, &unused, gather);
        }
    }
}

/// The addresses of the areas that are `wanted`, ascending. A walk looks at each leaf table once: areas
/// that follow each other come together if the table of one's last page serves the next one's first, or
/// the next table does. Nothing is mapped between them.
pub(super) fn runs(
    areas: &AreaSet<Backing>,
    wanted: impl Fn(&Area<Backing>) -> bool,
) -> impl Iterator<Item = Range<u64>> {
    let mut areas = areas.iter().peekable();
    core::iter::from_fn(move || {
        let mut run = areas.find(|area| wanted(area))?.range();
        while let Some(next) =
            areas.next_if(|next| next.start <= run.end.next_multiple_of(TABLE_SPAN) && wanted(next))
        {
            run.end = next.end;
        }
        Some(run)
    })
}
