//! mincore: which pages are in memory.

use arch::addr::PAGE_SIZE;
use kcore::mm::MmId;

use super::address_space::{self, Map};
use crate::errno::Errno;

/// Writes a byte for each page from `start` on into `answer`: 1 if the page is in memory, else 0.
/// May sleep.
///
/// # Errors
/// `ENOMEM` if one of them is not mapped.
pub(crate) fn mincore(mm: MmId, start: u64, answer: &mut [u8]) -> Result<(), Errno> {
    let map = address_space::lock(mm);
    for (byte, page) in answer.iter_mut().zip(0..) {
        *byte = map.is_in_memory(start + page * PAGE_SIZE).ok_or(Errno::ENOMEM)?.into();
    }
    Ok(())
}

impl Map {
    /// Whether the page at `addr` is in memory: mapped, or a page of the file that is
    /// mapped there. None without an area.
    fn is_in_memory(&self, addr: u64) -> Option<bool> {
        let area = self.areas.find(addr)?;
        let present = self.tables.is_present(addr);
        let of_file = || {
            let page = area.contents.page_at(addr - area.start);
            page.is_some_and(|(object, number)| object.has_page(number))
        };
        Some(present || of_file())
    }
}
