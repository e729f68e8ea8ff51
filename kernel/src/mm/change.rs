//! Changes of what is mapped: munmap, mprotect, and stores from outside.

use core::ops::Range;

use arch::addr::PAGE_SIZE;
use arch::encoding::pte::PteFlags;
use arch::mmu::cursor::after_store;
use kcore::mm::MmId;
use vm::area::{Area, Prot};
use vm::areas::Run;

use super::FaultError;
use super::address_space::{self, Map};
use super::backing::Backing;
use super::fault::{frame_of, leaf_flags, make_fetchable};
use super::gather::Gather;
use super::heap;
use super::mmap::{page_range, user_range};
use crate::errno::Errno;

/// What a call can cost on the heap: areas that are cut in two.
const HEAP_BYTES: usize = 8 << 10;

/// Linux's `munmap`. Unmapped pieces in the range are no error. May sleep.
///
/// # Errors
/// `EINVAL` for an odd range, `ENOMEM` without memory to cut an area in two.
pub(crate) fn munmap(mm: MmId, start: u64, len: u64) -> Result<(), Errno> {
    let range = user_range(start, len, Errno::EINVAL)?;
    let mut map = address_space::lock(mm);
    if !heap::ensure_room(HEAP_BYTES) {
        return Err(Errno::ENOMEM);
    }
    map.unmap(range);
    Ok(())
}

/// How far an mprotect reaches.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// The range that it names.
    Range,
    /// From the start of the stack that the range begins in (`PROT_GROWSDOWN`).
    Stack,
}

/// Linux's `mprotect`. Areas before the one that ends it with an error are changed. May
/// sleep.
///
/// # Errors
/// `EINVAL` for an odd range, `ENOMEM` if a part of it is not mapped, `EACCES` if stores
/// would reach a file that was not opened for them.
pub(crate) fn mprotect(mm: MmId, start: u64, len: u64, prot: Prot, reach: Reach) -> Result<(), Errno> {
    if len == 0 && start.is_multiple_of(PAGE_SIZE) {
        return Ok(());
    }
    // What reaches over the user's addresses has a hole at their end.
    let mut range = page_range(start, len, Errno::ENOMEM)?;
    let mut map = address_space::lock(mm);
    if reach == Reach::Stack {
        let first = map.areas.overlapping(&range).next().ok_or(Errno::ENOMEM)?;
        if !first.grows_down {
            return Err(Errno::EINVAL);
        }
        range.start = first.start;
    }
    if !heap::ensure_room(HEAP_BYTES) {
        return Err(Errno::ENOMEM);
    }
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

/// Stores `bytes` at `addr` of `mm`, which need not be current, whatever the
/// protection: to build stacks and load programs. Pages are made present, and
/// private ones copied, as a store of the program's own would. May sleep.
///
/// # Errors
/// Those of the first fault that fails; bytes before it are stored.
pub(crate) fn poke(mm: MmId, addr: u64, bytes: &[u8]) -> Result<(), FaultError> {
    address_space::lock(mm).poke(addr, bytes)
}

/// As [`poke`], if the program itself may store there.
///
/// # Errors
/// Those of a store of its own.
pub(crate) fn poke_writable(mm: MmId, addr: u64, bytes: &[u8]) -> Result<(), FaultError> {
    let mut map = address_space::lock(mm);
    let last = addr.checked_add(bytes.len() as u64 - 1).ok_or(FaultError::MapErr)?;
    for at in [addr, last] {
        let area = map.areas.find(at).ok_or(FaultError::MapErr)?;
        if !area.prot.contains(Prot::WRITE) {
            return Err(FaultError::AccErr);
        }
    }
    map.poke(addr, bytes)
}

/// What a shared futex at `addr` is known by: the object that is mapped there and
/// the offset into it; none for private memory. May sleep.
pub(crate) fn shared_key(mm: MmId, addr: u64) -> Option<(u64, u64)> {
    let map = address_space::lock(mm);
    let area = map.areas.find(addr).filter(|area| area.shared)?;
    match &area.contents {
        Backing::Anonymous => None,
        Backing::Object { object, offset, .. } => Some((object.id(), offset + addr - area.start)),
    }
}

impl Map {
    fn poke(&mut self, addr: u64, bytes: &[u8]) -> Result<(), FaultError> {
        let (mut at, mut rest) = (addr, bytes);
        while !rest.is_empty() {
            let page = self.make_present(at, true)?;
            let offset = at % PAGE_SIZE;
            let (now, later) = rest.split_at(rest.len().min((PAGE_SIZE - offset) as usize));
            let target = page.as_mut_ptr::<u8>().wrapping_add(offset as usize);
            // SAFETY: inside the page, which the lock keeps. Threads of the program
            // may look on, as they may at any store of each other's.
            unsafe { core::ptr::copy_nonoverlapping(now.as_ptr(), target, now.len()) };
            if self.areas.find(at).is_some_and(|area| area.prot.contains(Prot::EXEC)) {
                make_fetchable(page);
            }
            (at, rest) = (at + now.len() as u64, later);
        }
        Ok(())
    }

    /// Brings the entries in `range` into step with their areas.
    fn protect_pages(&mut self, range: Range<u64>) {
        let mut gather = Gather::new(self.mm);
        for area in self.areas.overlapping(&range) {
            let part = area.start.max(range.start)..area.end.min(range.end);
            self.pages.cursor(part).for_each(|mut entry| {
                let old = entry.get();
                let flags = leaf_flags(area.prot, area.shared || frame_of(old).is_sole());
                if flags.contains(PteFlags::EXECUTE) && !old.flags().contains(PteFlags::EXECUTE) {
                    make_fetchable(old.page());
                }
                // The same frame all the time: no need to clear before the flush.
                entry.set(old.with_flags(flags));
                if !flags.contains(old.flags()) {
                    gather.weakened(entry.ea());
                }
            });
        }
        after_store();
    }
}
