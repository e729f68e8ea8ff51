//! Calls that say how memory will be used: madvise, and the mlock and msync families.
//!
//! Pages stay in memory and files are memory, so most of these calls only check their range.

use core::ops::Range;

use arch::addr::PAGE_SIZE;
use kcore::mm::MmId;
use vm::area::Area;
use vm::{page_down, page_up};

use super::address_space::{self, Map};
use super::backing::Backing;
use super::gather::Gather;
use super::mmap::page_range;
use super::{Access, FaultError};
use crate::errno::Errno;

/// The advice of a `madvise`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Advice {
    /// A hint that changes nothing here.
    Hint,
    /// Forget the pages (`MADV_DONTNEED`).
    DontNeed,
    /// The pages may be forgotten, if they are anonymous and private (`MADV_FREE`).
    Free,
    /// Make the pages present for reads (`MADV_POPULATE_READ`).
    PopulateRead,
    /// Make the pages present for stores (`MADV_POPULATE_WRITE`).
    PopulateWrite,
}

/// Linux's `madvise`. Forgotten anonymous memory reads as zeroes afterwards, a file's memory as
/// the file. May sleep.
///
/// # Errors
/// `EINVAL` for an odd range or for advice that does not suit the memory, `ENOMEM` if a part of
/// the range is not mapped (the rest is done) or memory runs out, `EFAULT` for pages behind the
/// end of a file.
pub(crate) fn madvise(mm: MmId, start: u64, len: u64, advice: Advice) -> Result<(), Errno> {
    let range = page_range(start, len, Errno::EINVAL)?;
    let mut map = address_space::lock(mm);
    match advice {
        Advice::Hint => map.for_each_part(range, |_, _| Ok(())),
        Advice::DontNeed | Advice::Free => {
            let mut gather = Gather::new(mm);
            map.for_each_part(range, |map, part| {
                if advice == Advice::Free && !map.is_private_anonymous(part.start) {
                    return Err(Errno::EINVAL);
                }
                map.tables.take(part, &mut gather);
                Ok(())
            })
        }
        Advice::PopulateRead => map.populate_for(range, Access::default()),
        Advice::PopulateWrite => map.populate_for(range, Access { write: true, exec: false }),
    }
}

/// Linux's `msync`: every store is in the file already. May sleep.
///
/// # Errors
/// `EINVAL` if `start` is not aligned, `ENOMEM` if a part of the range is not mapped.
pub(crate) fn msync(mm: MmId, start: u64, len: u64) -> Result<(), Errno> {
    let range = page_range(start, len, Errno::ENOMEM)?;
    address_space::lock(mm).for_each_part(range, |_, _| Ok(()))
}

/// Linux's `munlock`, and the checks of `mlock`: returns the pages that hold `len` bytes at
/// `start`. May sleep.
///
/// # Errors
/// `EINVAL` if the range wraps, `ENOMEM` if a part of it is not mapped.
pub(crate) fn munlock(mm: MmId, start: u64, len: u64) -> Result<Range<u64>, Errno> {
    let pages = page_down(start)..start.checked_add(len).and_then(page_up).ok_or(Errno::EINVAL)?;
    address_space::lock(mm).for_each_part(pages.clone(), |_, _| Ok(()))?;
    Ok(pages)
}

/// Linux's `mlock`: the pages stay in memory, as all pages do. Unless `on_fault`, they are made
/// present. May sleep.
///
/// # Errors
/// Those of [`munlock`]; `ENOMEM` if a page may not be touched, `EAGAIN` without memory.
pub(crate) fn mlock(mm: MmId, start: u64, len: u64, on_fault: bool) -> Result<(), Errno> {
    let pages = munlock(mm, start, len)?;
    if on_fault {
        return Ok(());
    }
    address_space::lock(mm).populate(pages).map_err(|error| match error {
        FaultError::Oom => Errno::EAGAIN,
        _ => Errno::ENOMEM,
    })
}

/// Linux's `mlockall(MCL_CURRENT)`: makes present every page that can be. May sleep.
pub(crate) fn mlockall(mm: MmId) {
    let mut map = address_space::lock(mm);
    // A page that cannot be made present is no error: a later access faults for it. Nor is a
    // hole.
    let _ = map.for_each_part(0..u64::MAX, |map, part| {
        let _ = map.populate(part);
        Ok(())
    });
}

impl Map {
    /// Calls `each` with the part of every area in `range`, ascending; its first error
    /// ends the walk.
    ///
    /// # Errors
    /// The error of `each`; `ENOMEM` at the end if a part of `range` was not mapped.
    fn for_each_part(
        &mut self,
        range: Range<u64>,
        mut each: impl FnMut(&mut Map, Range<u64>) -> Result<(), Errno>,
    ) -> Result<(), Errno> {
        let (mut at, mut holes) = (range.start, false);
        while at < range.end {
            let next = self.areas.overlapping(&(at..range.end)).next().map(Area::range);
            let Some(area) = next else { return Err(Errno::ENOMEM) };
            let part = area.start.max(at)..area.end.min(range.end);
            holes |= at < part.start;
            at = part.end;
            each(self, part)?;
        }
        if holes { Err(Errno::ENOMEM) } else { Ok(()) }
    }

    fn is_private_anonymous(&self, addr: u64) -> bool {
        let area = self.areas.find(addr);
        area.is_some_and(|area| !area.shared && matches!(area.contents, Backing::Anonymous))
    }

    /// Makes the pages of `range` present as accesses of the program would.
    fn populate_for(&mut self, range: Range<u64>, access: Access) -> Result<(), Errno> {
        for addr in range.step_by(PAGE_SIZE as usize) {
            self.fault(addr, access).map_err(|error| match error {
                FaultError::MapErr | FaultError::Oom => Errno::ENOMEM,
                FaultError::AccErr => Errno::EINVAL,
                FaultError::Bus => Errno::EFAULT,
            })?;
        }
        Ok(())
    }
}
