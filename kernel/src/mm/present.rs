//! Pages of a file that are in memory already, mapped before they are touched.

use arch::addr::{PAGE_SHIFT, PAGE_SIZE};
use arch::encoding::pte::Pte;
use arch::isa;
use arch::mmu::cursor::after_store;
use kcore::mm::MmId;
use vm::area::Prot;

use super::address_space::{self, Map};
use super::fault::leaf_flags;
use crate::memory::frame::Frame;
use crate::memory::tables::TableFrames;

/// The most pages of an area that are looked at: 1 MiB.
const MOST: u64 = 256;

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
        let flags = leaf_flags(area.prot, false);
        let mut cursor = self.tables.cursor(area.range());
        let pages = (area.bytes() >> PAGE_SHIFT).min(MOST);
        let mut mapped = 0;
        object.for_each_page(first..first + pages, |number, page| {
            let ea = area.start + (number - first) * PAGE_SIZE;
            if let Ok(mut entry) = cursor.entry(ea, &mut TableFrames)
                && !entry.get().is_valid()
            {
                // The reference becomes the entry's.
                entry.set(Pte::leaf(Frame::leak(page.share()), flags));
                mapped += 1;
            }
        });
        self.tables.resident += mapped;
        if area.prot.contains(Prot::EXEC) {
            // For all of them: which address is named does not matter.
            isa::sync_instruction_cache(core::ptr::from_ref(self).cast());
        }
        after_store();
    }
}
