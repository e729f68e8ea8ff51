//! Calls on the address space.

use kcore::mm::MmId;
use powerpc64::addr::PAGE_SIZE;
use powerpc64::exceptions::TrapFrame;

use super::Result;
use crate::errno::Errno;
use crate::mm::{self, Backing, MapFlags, Prot};
use crate::process::current;
use crate::task;

fn own_mm() -> MmId {
    task::current().mm.mm()
}

fn prot(bits: u64) -> Result<Prot> {
    /// Strong access order: every page has it.
    const PROT_SAO: u64 = 0x10;
    u32::try_from(bits & !PROT_SAO).ok().and_then(|bits| Prot::from_bits(bits as _)).ok_or(Errno::EINVAL)
}

pub(super) fn brk(frame: &mut TrapFrame) -> Result {
    let [end, ..] = frame.syscall_args();
    Ok(mm::brk(own_mm(), end))
}

pub(super) fn mmap(frame: &mut TrapFrame) -> Result {
    let [hint, len, bits, flags, fd, offset] = frame.syscall_args();
    let prot = prot(bits)?;
    // As in Linux, what is not known is ignored.
    let flags = MapFlags::from_bits_truncate(flags as u32);
    let backing = if flags.contains(MapFlags::ANONYMOUS) {
        Backing::Anonymous
    } else {
        if !offset.is_multiple_of(PAGE_SIZE) {
            return Err(Errno::EINVAL);
        }
        let description = current().files.get(fd)?;
        let open = description.flags();
        let writes = flags.contains(MapFlags::SHARED) && prot.contains(Prot::WRITE);
        if !open.readable() || (writes && !open.writable()) {
            return Err(Errno::EACCES);
        }
        Backing::of(own_mm(), description.file.object()?, offset, open.writable())?
    };
    mm::mmap(own_mm(), hint, len, prot, flags, backing)
}

pub(super) fn munmap(frame: &mut TrapFrame) -> Result {
    let [start, len, ..] = frame.syscall_args();
    mm::munmap(own_mm(), start, len).map(|()| 0)
}

pub(super) fn mprotect(frame: &mut TrapFrame) -> Result {
    let [start, len, bits, ..] = frame.syscall_args();
    mm::mprotect(own_mm(), start, len, prot(bits)?).map(|()| 0)
}

pub(super) fn madvise(frame: &mut TrapFrame) -> Result {
    const NORMAL: u64 = 0;
    const DONTNEED: u64 = 4;
    const FREE: u64 = 8;
    const HUGEPAGE: u64 = 14;
    const NOHUGEPAGE: u64 = 15;
    let [start, len, advice, ..] = frame.syscall_args();
    match advice {
        DONTNEED | FREE => mm::madvise_dontneed(own_mm(), start, len).map(|()| 0),
        // Hints, all of them.
        NORMAL..DONTNEED | HUGEPAGE | NOHUGEPAGE => Ok(0),
        _ => Err(Errno::EINVAL),
    }
}
