//! Calls on the address space.

use alloc::sync::Arc;

use arch::addr::PAGE_SIZE;
use kcore::mm::MmId;

use super::Result;
use crate::errno::Errno;
use crate::fs::Description;
use crate::mm::user_memory::UserAddr;
use crate::mm::{self, Advice, Backing, MapFlags, Prot, Reach, RemapFlags};
use crate::process::current;
use crate::task;

fn own_mm() -> MmId {
    task::current().mm.mm()
}

/// Linux's `arch_validate_prot` on a POWER9 without strong access order (`PROT_SAO`), as
/// all are in a partition.
fn prot(bits: u64) -> Result<Prot> {
    /// For atomic operations: every page allows them.
    const PROT_SEM: u64 = 8;
    u32::try_from(bits & !PROT_SEM).ok().and_then(Prot::from_bits).ok_or(Errno::EINVAL)
}

pub(super) fn brk(end: u64) -> u64 {
    mm::brk(own_mm(), end)
}

/// The type of a mapping: shared or private stores (`MAP_TYPE`).
const MAP_TYPE: u64 = 0x0f;
const MAP_SHARED: u64 = 1;
const MAP_PRIVATE: u64 = 2;
/// `MAP_SHARED`, with an error for unknown flags.
const MAP_SHARED_VALIDATE: u64 = 3;
/// Huge pages, of which there are none.
const MAP_HUGETLB: u64 = 0x4_0000;
/// The flags that Linux knew when unknown flags were no error (`LEGACY_MAP_MASK`): ours; DENYWRITE,
/// EXECUTABLE, NONBLOCK, STACK; sizes of huge pages.
const LEGACY_FLAGS: u64 = MapFlags::all().difference(MapFlags::FIXED_NOREPLACE).bits() as u64
    | MAP_SHARED_VALIDATE
    | 0x3_1800
    | 0x1f << 26;

pub(super) fn mmap(hint: u64, len: u64, bits: u64, bare_flags: u64, fd: u64, offset: u64) -> Result {
    let prot = prot(bits)?;
    if !offset.is_multiple_of(PAGE_SIZE) {
        return Err(Errno::EINVAL);
    }
    let mut flags = MapFlags::from_bits_truncate((bare_flags & !MAP_TYPE) as u32);
    let anonymous = flags.contains(MapFlags::ANONYMOUS);
    let file = if anonymous { None } else { Some(current().files.get(fd)?) };
    if len == 0 || bare_flags & MAP_HUGETLB != 0 {
        return Err(Errno::EINVAL);
    }
    flags |= match (bare_flags & MAP_TYPE, &file) {
        (MAP_PRIVATE, _) => MapFlags::PRIVATE,
        (MAP_SHARED, _) => MapFlags::SHARED,
        (MAP_SHARED_VALIDATE, Some(_)) if bare_flags & !LEGACY_FLAGS != 0 => return Err(Errno::EOPNOTSUPP),
        (MAP_SHARED_VALIDATE, Some(_)) => MapFlags::SHARED,
        _ => return Err(Errno::EINVAL),
    };
    let backing = match file {
        None => Backing::Anonymous,
        Some(file) => of_file(&file, offset, len, prot, flags)?,
    };
    mm::mmap(own_mm(), hint, len, prot, flags, backing)
}

fn of_file(file: &Arc<Description>, offset: u64, len: u64, prot: Prot, flags: MapFlags) -> Result<Backing> {
    offset.checked_add(len).filter(|&end| end <= i64::MAX as u64).ok_or(Errno::EOVERFLOW)?;
    let open = file.flags();
    let writes = flags.contains(MapFlags::SHARED) && prot.contains(Prot::WRITE);
    if !open.readable() || (writes && !open.writable()) {
        return Err(Errno::EACCES);
    }
    Backing::of(own_mm(), file.file.object()?, offset, open.writable())
}

pub(super) fn munmap(start: u64, len: u64) -> Result<()> {
    mm::munmap(own_mm(), start, len)
}

pub(super) fn mremap(start: u64, old_len: u64, new_len: u64, flags: u64, target: u64) -> Result {
    let flags = RemapFlags::from_bits(flags).ok_or(Errno::EINVAL)?;
    mm::mremap(own_mm(), start, old_len, new_len, flags, target)
}

pub(super) fn mprotect(start: u64, len: u64, bits: u64) -> Result<()> {
    /// From the start of the stack.
    const PROT_GROWSDOWN: u64 = 0x100_0000;
    /// To the end of a stack that grows upwards; there are none.
    const PROT_GROWSUP: u64 = 0x200_0000;
    if bits & PROT_GROWSUP != 0 {
        return Err(Errno::EINVAL);
    }
    let reach = if bits & PROT_GROWSDOWN != 0 { Reach::Stack } else { Reach::Range };
    mm::mprotect(own_mm(), start, len, prot(bits & !PROT_GROWSDOWN)?, reach)
}

pub(super) fn madvise(start: u64, len: u64, advice: u64) -> Result<()> {
    let advice = match advice {
        // NORMAL, RANDOM, SEQUENTIAL, WILLNEED; huge pages or not, in core dumps or not; COLD,
        // PAGEOUT: there is no swap.
        0..=3 | 14..=17 | 20..=21 => Advice::Hint,
        // DONTNEED, and its form for locked pages.
        4 | 24 => Advice::DontNeed,
        8 => Advice::Free,
        22 => Advice::PopulateRead,
        23 => Advice::PopulateWrite,
        _ => return Err(Errno::EINVAL),
    };
    mm::madvise(own_mm(), start, len, advice)
}

pub(super) fn msync(start: u64, len: u64, flags: u64) -> Result<()> {
    const MS_ASYNC: u64 = 1;
    const MS_INVALIDATE: u64 = 2;
    const MS_SYNC: u64 = 4;
    if flags & !(MS_ASYNC | MS_INVALIDATE | MS_SYNC) != 0
        || flags & (MS_ASYNC | MS_SYNC) == MS_ASYNC | MS_SYNC
    {
        return Err(Errno::EINVAL);
    }
    mm::msync(own_mm(), start, len)
}

pub(super) fn mincore(start: u64, len: u64, answer: UserAddr) -> Result<()> {
    /// Pages per look under the lock: no user memory is touched under it.
    const PIECE: usize = 256;
    if !start.is_multiple_of(PAGE_SIZE) {
        return Err(Errno::EINVAL);
    }
    if !UserAddr(start).has_room(len as usize) {
        return Err(Errno::ENOMEM);
    }
    let pages = len.div_ceil(PAGE_SIZE);
    if !answer.has_room(pages as usize) {
        return Err(Errno::EFAULT);
    }
    let mut piece = [0; PIECE];
    for first in (0..pages).step_by(PIECE) {
        let bytes = &mut piece[..(pages - first).min(PIECE as u64) as usize];
        mm::mincore(own_mm(), start + first * PAGE_SIZE, bytes)?;
        answer.plus(first as usize).write_bytes(bytes)?;
    }
    Ok(())
}

pub(super) fn mlock2(start: u64, len: u64, flags: u64) -> Result<()> {
    const MLOCK_ONFAULT: u64 = 1;
    if flags & !MLOCK_ONFAULT != 0 {
        return Err(Errno::EINVAL);
    }
    mm::mlock(own_mm(), start, len, flags & MLOCK_ONFAULT != 0)
}

pub(super) fn munlock(start: u64, len: u64) -> Result<()> {
    mm::munlock(own_mm(), start, len).map(drop)
}

pub(super) fn mlockall(flags: u64) -> Result<()> {
    // The numbers of powerpc.
    const MCL_CURRENT: u64 = 0x2000;
    const MCL_FUTURE: u64 = 0x4000;
    const MCL_ONFAULT: u64 = 0x8000;
    if flags & !(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) != 0 || flags & !MCL_ONFAULT == 0 {
        return Err(Errno::EINVAL);
    }
    if flags & (MCL_CURRENT | MCL_ONFAULT) == MCL_CURRENT {
        mm::mlockall(own_mm());
    }
    Ok(())
}
