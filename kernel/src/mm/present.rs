//! Pages of a file that are in memory already, mapped before they are touched.

use arch::addr::{PAGE_SHIFT, PAGE_SIZE};
use arch::encoding::pte::{Pte, PteFlags};
use arch::isa;
use arch::mmu::cursor::after_store;
use arch::mmu::cursor::leaf_tables::TABLE_SPAN;
use kcore::mm::MmId;
use vm::area::Prot;

use super::address_space::{self, Map};
use super::fault::leaf_flags;
use crate::memory::tables::TableFrames;

/// The most bytes of an area that are looked at.
const MOST: u64 = 1 << 20;

/// Maps the pages at the begin of the area at `start` that have come into being, unless the area
/// can be stored to. A program runs much the same code as those that ran it before: this costs it
/// less than a fault for each page. A page that is missed only faults. May sleep.
pub(crate) fn map_present(mm: MmId, start: u64) {
    address_space::lock(mm).map_present(start);
}

impl Map {
    fn map_present(&mut self, start: u64) {
        let Some(area) = self.areas.find(start).filter(|area| !area.prot.contains(Prot::WRITE)) else {
            return;
        };
        let Some((object, first)) = area.contents.page_at(0) else { return };
        let flags = leaf_flags(area.prot, false) - PteFlags::COUNTED;
        let mut cursor = self.tables.cursor(area.range());
        let mut mapped = 0;
        let (mut at, end) = (area.start, area.end.min(area.start + MOST));
        while at < end {
            let stop = end.min((at | (TABLE_SPAN - 1)) + 1);
            let Ok(mut table) = cursor.leaf_table(&(at..stop), &mut TableFrames) else { break };
            let number_of = |ea| first + ((ea - area.start) >> PAGE_SHIFT);
            object.for_each_page(number_of(at)..number_of(stop), |number, page| {
                let mut entry = table.entry(area.start + (number - first) * PAGE_SIZE);
                if !entry.get().is_valid() {
                    entry.set(Pte::leaf(page.phys(), flags));
                    mapped += 1;
                }
            });
            at = stop;
        }
        self.tables.resident += mapped;
        if area.prot.contains(Prot::EXEC) {
            // For all of them: which address is named does not matter.
            isa::sync_instruction_cache(core::ptr::from_ref(self).cast());
        }
        after_store();
    }
}
