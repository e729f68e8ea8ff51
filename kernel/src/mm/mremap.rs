//! mremap: a mapping becomes longer or shorter, or goes elsewhere with its pages.
//!
//! A move takes each entry out of the old place and puts it into the new one, with its reference
//! and its permissions. Until the flush other CPUs may still reach the frame by its old address.
//! That does no harm as long as the new entry holds the frame. So the old place is flushed before
//! the `mmap_lock` is free, that is, before another task could take the new entry away.

use core::ops::Range;

use arch::addr::USER_END;
use arch::mmu::cursor::after_store;
use bitflags::bitflags;
use kcore::mm::MmId;
use vm::area::{Area, Contents};
use vm::page_up;

use super::address_space::{self, Map};
use super::backing::Backing;
use super::gather::Gather;
use super::mmap::{MapFlags, user_range};
use crate::errno::Errno;
use crate::memory::tables::TableFrames;

bitflags! {
    /// The bits of `MREMAP_*`.
    #[derive(Clone, Copy, PartialEq, Eq)]
    pub(crate) struct RemapFlags: u64 {
        /// The mapping may move.
        const MAYMOVE = 1;
        /// The mapping moves to `target` and replaces other mappings there.
        const FIXED = 2;
        /// The old place stays mapped, without its pages.
        const DONTUNMAP = 4;
    }
}

/// Linux's `mremap`: returns the mapping's address. `target` is the new place with `FIXED`, a
/// hint with `DONTUNMAP`. May sleep.
///
/// # Errors
/// `EINVAL` for odd addresses, lengths or flags, and for a new place that overlaps the old;
/// `EFAULT` if the old range is not in one area; `ENOMEM` without room.
pub(crate) fn mremap(
    mm: MmId,
    start: u64,
    old_len: u64,
    new_len: u64,
    flags: RemapFlags,
    target: u64,
) -> Result<u64, Errno> {
    // As in Linux, a length that wraps when rounded up is 0.
    let (old_len, new_len) = (page_up(old_len).unwrap_or(0), page_up(new_len).unwrap_or(0));
    let elsewhere = flags.intersects(RemapFlags::FIXED | RemapFlags::DONTUNMAP);
    if vm::page_down(start) != start
        || new_len == 0
        || (elsewhere && !flags.contains(RemapFlags::MAYMOVE))
        || (flags.contains(RemapFlags::DONTUNMAP) && old_len != new_len)
    {
        return Err(Errno::EINVAL);
    }
    let mut map = address_space::lock(mm);
    map.areas.find(start).ok_or(Errno::EFAULT)?;
    map.make_room(&(0..USER_END))?;
    if elsewhere {
        return map.remap_to(start, old_len, new_len, flags, target);
    }
    if new_len <= old_len {
        map.shrink(start, old_len, new_len)?;
        return Ok(start);
    }
    let area = map.resizable(start, old_len, new_len)?;
    if start + old_len == area.end && map.extend(&area, new_len - old_len) {
        return Ok(start);
    }
    if !flags.contains(RemapFlags::MAYMOVE) {
        return Err(Errno::ENOMEM);
    }
    let place = map.place(0, new_len, MapFlags::empty())?;
    map.move_to(area.part(&(start..area.end)), old_len, place, flags)
}

impl Map {
    /// Moves the mapping to `target`, or near it.
    fn remap_to(
        &mut self,
        start: u64,
        old_len: u64,
        new_len: u64,
        flags: RemapFlags,
        target: u64,
    ) -> Result<u64, Errno> {
        let to = user_range(target, new_len, Errno::EINVAL)?;
        if start.saturating_add(old_len) > to.start && to.end > start {
            return Err(Errno::EINVAL);
        }
        let fixed = flags.contains(RemapFlags::FIXED);
        if fixed {
            // Checks the place as `mmap` does: not below the lowest address.
            self.place(target, new_len, MapFlags::FIXED)?;
            self.unmap(to);
        }
        if old_len > new_len {
            self.shrink(start, old_len, new_len)?;
        }
        let old_len = old_len.min(new_len);
        let area = self.resizable(start, old_len, new_len)?;
        let place = self.place(target, new_len, if fixed { MapFlags::FIXED } else { MapFlags::empty() })?;
        self.move_to(area.part(&(start..area.end)), old_len, place, flags)
    }

    fn shrink(&mut self, start: u64, old_len: u64, new_len: u64) -> Result<(), Errno> {
        if old_len > new_len {
            let tail = user_range(start + new_len, old_len - new_len, Errno::EINVAL)?;
            self.unmap(tail);
        }
        Ok(())
    }

    /// The area of `old_len` bytes at `start`, which can become `new_len` long.
    fn resizable(&self, start: u64, old_len: u64, new_len: u64) -> Result<Area<Backing>, Errno> {
        let area = self.areas.find(start).ok_or(Errno::EFAULT)?;
        // Length 0 asks for a second mapping of the object. Private pages cannot be mapped twice.
        if old_len == 0 && !area.shared {
            return Err(Errno::EINVAL);
        }
        if old_len > area.end - start {
            return Err(Errno::EFAULT);
        }
        if let Some((_, offset)) = area.contents.object() {
            (offset + (start - area.start)).checked_add(new_len).ok_or(Errno::EINVAL)?;
        }
        if !self.may_grow(new_len.saturating_sub(old_len)) {
            return Err(Errno::ENOMEM);
        }
        Ok(area.clone())
    }

    /// Makes `area` longer by `bytes` where it is, if there is room.
    fn extend(&mut self, area: &Area<Backing>, bytes: u64) -> bool {
        let Some(end) = area.end.checked_add(bytes).filter(|&end| end <= USER_END) else { return false };
        let more = area.end..end;
        if !self.areas.is_free_place(&more) {
            return false;
        }
        let contents = area.contents.advanced(area.bytes());
        self.areas.insert(Area { start: more.start, end: more.end, contents, ..area.clone() });
        true
    }

    /// Moves the first `old_len` bytes of `area` to `place`, which is free.
    fn move_to(
        &mut self,
        area: Area<Backing>,
        old_len: u64,
        place: Range<u64>,
        flags: RemapFlags,
    ) -> Result<u64, Errno> {
        let old = area.start..area.start + old_len;
        self.areas.insert(Area { start: place.start, end: place.end, ..area });
        if !self.make_tables(&old, place.start) {
            self.unmap(place);
            return Err(Errno::ENOMEM);
        }
        let mut gather = Gather::new(self.mm);
        self.move_pages(&old, place.start, &mut gather);
        if !flags.contains(RemapFlags::DONTUNMAP) && !old.is_empty() {
            self.unmap_after(old, &mut gather);
        }
        Ok(place.start)
    }

    /// Makes the tables that the pages of `old` need at `new`; false without memory.
    fn make_tables(&mut self, old: &Range<u64>, new: u64) -> bool {
        let (mut from, mut to) = self.tables.cursors(old.clone(), moved(old, new));
        let mut made = true;
        from.for_each(|entry| {
            made = made && to.entry(new + (entry.ea() - old.start), &mut TableFrames).is_ok();
        });
        made
    }

    /// Moves the entries of `old` to `new`, where the tables are made.
    fn move_pages(&mut self, old: &Range<u64>, new: u64, gather: &mut Gather) {
        let (mut from, mut to) = self.tables.cursors(old.clone(), moved(old, new));
        from.for_each(|mut entry| {
            let target = to.find(new + (entry.ea() - old.start));
            // Never in both places at once: one reference, one entry.
            let page = entry.take();
            gather.weakened(entry.page());
            target.expect("the tables were just made").set(page);
        });
        after_store();
    }
}

/// As many addresses as `old` has, from `new` on.
fn moved(old: &Range<u64>, new: u64) -> Range<u64> {
    new..new + (old.end - old.start)
}
