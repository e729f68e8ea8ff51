//! mprotect: other permissions for mappings.

use core::ops::Range;

use arch::addr::PAGE_SIZE;
use arch::encoding::pte::PteFlags;
use arch::mmu::cursor::after_store;
use kcore::mm::MmId;
use vm::area::{Area, Prot};
use vm::areas::Run;

use super::address_space::{self, Map};
use super::backing::Backing;
use super::fault::{frame_of, leaf_flags, make_fetchable};
use super::gather::{Gather, NO_SPAN};
use super::mmap::page_range;
use crate::errno::Errno;

/// How far an mprotect reaches.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// The range that it names.
    Range,
    /// From the start of the stack that the range begins in (`PROT_GROWSDOWN`).
    Stack,
}

/// Linux's `mprotect`. Areas before the one that fails are changed. May sleep.
///
/// # Errors
/// `EINVAL` for an odd range, `ENOMEM` if a part of it is not mapped, `EACCES` if stores
/// would reach a file that was not opened for them.
pub(crate) fn mprotect(mm: MmId, start: u64, len: u64, prot: Prot, reach: Reach) -> Result<(), Errno> {
    if len == 0 && start.is_multiple_of(PAGE_SIZE) {
        return Ok(());
    }
    // A range that reaches over the user's addresses has a hole at their end.
    let mut range = page_range(start, len, Errno::ENOMEM)?;
    let mut map = address_space::lock(mm);
    if reach == Reach::Stack {
        let first = map.areas.overlapping(&range).next().ok_or(Errno::ENOMEM)?;
        if !first.grows_down {
            return Err(Errno::EINVAL);
        }
        range.start = first.start;
    }
    map.make_room(&range)?;
    let writes = prot.contains(Prot::WRITE);
    let closed = |area: &Area<Backing>| {
        area.shared && matches!(area.contents, Backing::Object { writable: false, .. })
    };
    let (end, result) = match map.areas.run(&range, |area| !(writes && closed(area))) {
        Run::Whole => (range.end, Ok(())),
        Run::Hole(end) => (end, Err(Errno::ENOMEM)),
        Run::Refused(end) => (end, Err(Errno::EACCES)),
    };
    if range.start < end {
        map.areas.protect(&(range.start..end), prot);
        map.protect_pages(range.start..end);
    }
    result
}

impl Map {
    /// Brings the entries in `range` into step with their areas.
    fn protect_pages(&mut self, range: Range<u64>) {
        let mut gather = Gather::new(self.mm);
        for area in self.areas.overlapping(&range) {
            let part = area.start.max(range.start)..area.end.min(range.end);
            let sole = leaf_flags(area.prot, true);
            // The count of a frame is only read where it makes a difference.
            let all_sole = area.shared || !self.forked && matches!(area.contents, Backing::Anonymous);
            let shared = leaf_flags(area.prot, all_sole);
            let mut lost = NO_SPAN;
            self.tables.cursor(part).for_each(|mut entry| {
                let old = entry.get();
                let flags = if sole != shared && frame_of(old).is_sole() { sole } else { shared };
                let new = old.permitting(flags);
                if new.0 & !old.0 & PteFlags::EXECUTE.bits() != 0 {
                    make_fetchable(old.page());
                }
                if new != old {
                    // The frame stays: the entry need not be cleared before the flush.
                    entry.set_same_page(new);
                }
                if old.0 & !new.0 != 0 {
                    lost = lost.start.min(entry.ea())..entry.page().end;
                }
            });
            gather.weakened(lost);
        }
        after_store();
    }
}
