//! mprotect: other permissions for mappings.

use core::ops::Range;

use arch::addr::PAGE_SIZE;
use arch::encoding::pte::{Pte, PteFlags};
use arch::mmu::cursor::visit::{Eight, Visit};
use arch::mmu::cursor::{Entry, after_store};
use kcore::mm::MmId;
use vm::area::{Area, Prot};
use vm::areas::Run;

use super::address_space::{self, Map};
use super::backing::Backing;
use super::fault::{is_own, leaf_flags, make_fetchable};
use super::gather::{NO_SPAN, flush_weakened};
use super::mmap::page_range;
use super::page_tables::PageTables;
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
    let writes = prot.contains(Prot::WRITE);
    let closed = |area: &Area<Backing>| {
        area.shared && matches!(area.contents, Backing::Object { writable: false, .. })
    };
    let permitted = |area: &Area<Backing>| !(writes && closed(area));
    if map.protect_at_hand(&range, prot, permitted) { Ok(()) } else { map.protect(range, prot, permitted) }
}

impl Map {
    /// The usual case: `range` is an area that was changed before. False, and nothing is changed, if
    /// it is not, or if it takes more than a new protection.
    #[inline(always)]
    fn protect_at_hand(
        &mut self,
        range: &Range<u64>,
        prot: Prot,
        permitted: impl FnOnce(&Area<Backing>) -> bool,
    ) -> bool {
        let Some(area) = self.areas.protect_at_hand(range, prot, permitted) else { return false };
        let lost = self.tables.protect(area, range, self.forked, NO_SPAN);
        after_store();
        flush_weakened(self.mm, lost);
        true
    }

    /// The other cases.
    // Not inlined: the usual case saves no registers for it.
    #[inline(never)]
    fn protect(
        &mut self,
        range: Range<u64>,
        prot: Prot,
        permitted: impl Fn(&Area<Backing>) -> bool,
    ) -> Result<(), Errno> {
        self.make_room(&range)?;
        let (end, result) = match self.areas.run(&range, permitted) {
            Run::Whole => (range.end, Ok(())),
            Run::Hole(end) => (end, Err(Errno::ENOMEM)),
            Run::Refused(end) => (end, Err(Errno::EACCES)),
        };
        if range.start < end {
            self.areas.protect(&(range.start..end), prot);
            self.protect_pages(range.start..end);
        }
        result
    }

    /// Brings the entries in `range` into step with their areas.
    fn protect_pages(&mut self, range: Range<u64>) {
        let mut lost = NO_SPAN;
        for area in self.areas.overlapping(&range) {
            lost = self.tables.protect(area, &range, self.forked, lost);
        }
        after_store();
        flush_weakened(self.mm, lost);
    }
}

impl PageTables {
    /// Brings the entries of `area` in `range` into step with it. Returns the addresses of those that
    /// have lost permissions, with those of `lost`, which are lower.
    #[inline(always)]
    fn protect(
        &mut self,
        area: &Area<Backing>,
        range: &Range<u64>,
        forked: bool,
        lost: Range<u64>,
    ) -> Range<u64> {
        let part = area.start.max(range.start)..area.end.min(range.end);
        let sole = leaf_flags(area.prot, true);
        // The count of a frame is only read where it makes a difference.
        let all_sole = area.shared || !forked && matches!(area.contents, Backing::Anonymous);
        let shared = leaf_flags(area.prot, all_sole);
        self.cursor(part).visit(Protecting { sole, shared, lost })
    }
}

/// A walk that gives entries of an area its permissions.
struct Protecting {
    /// The flags of a page whose frame is the entry's alone.
    sole: PteFlags,
    /// Those of another page.
    shared: PteFlags,
    /// The addresses of entries that have lost permissions.
    lost: Range<u64>,
}

impl Protecting {
    /// The entries that serve `range` were like `old` and are like `new`.
    #[inline(always)]
    fn changed(&mut self, old: Pte, new: Pte, range: Range<u64>) {
        if old.0 & !new.0 != 0 {
            self.lost = self.lost.start.min(range.start)..range.end;
        }
    }
}

impl Visit for Protecting {
    type Sum = Range<u64>;

    #[inline(always)]
    fn one(&mut self, mut entry: Entry<'_>) {
        let (old, sole, shared) = (entry.get(), self.sole, self.shared);
        let flags = if sole != shared && is_own(old) { sole } else { shared };
        let new = old.permitting(flags);
        if gains_fetches(old, new) {
            make_fetchable(old.page());
        }
        if new != old {
            // The frame stays: the entry need not be cleared before the flush.
            entry.set_same_page(new);
        }
        self.changed(old, new, entry.page());
    }

    #[inline(always)]
    fn eight(&mut self, mut entries: Eight<'_>) {
        let like_first = entries.like_first().filter(|_| self.sole == self.shared);
        let change = like_first.map(|old| (old, old.permitting(self.shared)));
        // Each page's instructions are made fetchable apart.
        let Some((old, new)) = change.filter(|&(old, new)| !gains_fetches(old, new)) else {
            return entries.one_by_one(self);
        };
        if new != old {
            entries.flip(PteFlags::from_bits_retain(old.0 ^ new.0));
        }
        self.changed(old, new, entries.range());
    }

    #[inline(always)]
    fn end(self) -> Range<u64> {
        self.lost
    }
}

fn gains_fetches(old: Pte, new: Pte) -> bool {
    new.0 & !old.0 & PteFlags::EXECUTE.bits() != 0
}
