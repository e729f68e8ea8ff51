//! System V shared memory, by `ipc`: memory with a number ([`segments`](super::segments)), by which
//! it is mapped.

use arch::addr::PAGE_SIZE;

use super::Result;
use super::segments::{HEAP_BYTES, IPC_PRIVATE, SEGMENTS, now_s};
use crate::errno::Errno;
use crate::memory::heap;
use crate::mm::user_memory::UserAddr;
use crate::mm::{self, Backing, MapFlags, Object, Prot};
use crate::process::current;
use crate::task;

/// shmget: make the segment if there is none with the key.
const IPC_CREAT: u64 = 0o1000;
/// shmget: an error if there is one.
const IPC_EXCL: u64 = 0o2000;
/// shmget: of huge pages, of which there are none.
const SHM_HUGETLB: u64 = 0o4000;

/// The one call for all of System V's IPC. Semaphores and messages do not exist here.
pub(super) fn ipc(call: u64, first: u64, second: u64, third: u64, pointer: u64) -> Result {
    const SHMAT: u64 = 21;
    const SHMDT: u64 = 22;
    const SHMGET: u64 = 23;
    const SHMCTL: u64 = 24;
    // Above the number is a version; only an old form of shmat has one.
    let call = call as u32;
    match (u64::from(call & 0xffff), call >> 16) {
        (SHMAT, 1) => Err(Errno::EINVAL),
        (SHMAT, _) => {
            let at = shmat(first, pointer, second)?;
            UserAddr(third).write(at).map(|()| 0)
        }
        (SHMDT, _) => shmdt(pointer),
        (SHMGET, _) => shmget(first as u32, second, third),
        (SHMCTL, _) => shmctl(first, second, UserAddr(pointer)),
        _ => Err(Errno::ENOSYS),
    }
}

fn shmget(key: u32, bytes: u64, flags: u64) -> Result {
    heap::check_room(HEAP_BYTES)?;
    let mut segments = SEGMENTS.lock();
    // Forgets segments whose memory is gone.
    let _ = segments.get(0);
    match segments.find(key) {
        Some(_) if flags & (IPC_CREAT | IPC_EXCL) == IPC_CREAT | IPC_EXCL => Err(Errno::EEXIST),
        Some((_, segment)) if segment.bytes < bytes => Err(Errno::EINVAL),
        Some((id, _)) => Ok(id.into()),
        None if key != IPC_PRIVATE && flags & IPC_CREAT == 0 => Err(Errno::ENOENT),
        None if bytes == 0 || bytes > i64::MAX as u64 || flags & SHM_HUGETLB != 0 => Err(Errno::EINVAL),
        None => segments.add(key, bytes, (flags & 0o777) as u32),
    }
}

fn shmat(id: u64, address: u64, flags: u64) -> Result {
    const SHM_RDONLY: u64 = 0o10000;
    /// Round the address down.
    const SHM_RND: u64 = 0o20000;
    /// Replace what is mapped there.
    const SHM_REMAP: u64 = 0o40000;
    const SHM_EXEC: u64 = 0o100_000;
    let remap = flags & SHM_REMAP != 0;
    let rounded = if flags & SHM_RND != 0 { address - address % PAGE_SIZE } else { address };
    if !rounded.is_multiple_of(PAGE_SIZE) || (rounded == 0 && remap) {
        return Err(Errno::EINVAL);
    }
    let (object, bytes) = {
        let mut segments = SEGMENTS.lock();
        let segment = segments.get(id)?;
        (segment.object()?, segment.bytes)
    };
    rounded.checked_add(bytes).ok_or(Errno::EINVAL)?;
    let writable = flags & SHM_RDONLY == 0;
    let mut prot = Prot::READ;
    prot.set(Prot::WRITE, writable);
    prot.set(Prot::EXEC, flags & SHM_EXEC != 0);
    let place = match (rounded, remap) {
        (0, _) => MapFlags::empty(),
        (_, true) => MapFlags::FIXED,
        (_, false) => MapFlags::FIXED_NOREPLACE,
    };
    let mm = task::current().mm.mm();
    let backing = Backing::of(mm, object, 0, writable)?;
    let at = mm::mmap(mm, rounded, bytes, prot, place | MapFlags::SHARED, backing).map_err(|errno| {
        // For shmat an address with a mapping is a bad address.
        if errno == Errno::EEXIST { Errno::EINVAL } else { errno }
    })?;
    // Another thread may have removed and detached it since.
    if let Ok(segment) = SEGMENTS.lock().get(id) {
        (segment.last, segment.attached_s) = (current().pid, now_s());
    }
    Ok(at)
}

fn shmdt(address: u64) -> Result {
    let segment_of = |object: &Object| SEGMENTS.lock().find_object(object);
    let id = mm::detach(task::current().mm.mm(), address, segment_of)?;
    if let Ok(segment) = SEGMENTS.lock().get(id.into()) {
        (segment.last, segment.detached_s) = (current().pid, now_s());
    }
    Ok(0)
}

fn shmctl(id: u64, command: u64, to: UserAddr) -> Result {
    /// The structures are the 64-bit ones.
    const IPC_64: u64 = 0x100;
    const IPC_RMID: u64 = 0;
    const IPC_SET: u64 = 1;
    const IPC_STAT: u64 = 2;
    const SHM_LOCK: u64 = 11;
    const SHM_UNLOCK: u64 = 12;
    match u64::from(command as u32) & !IPC_64 {
        IPC_RMID => remove(id),
        IPC_STAT => {
            let status = SEGMENTS.lock().get(id)?.status();
            to.write(status).map(|()| 0)
        }
        IPC_SET => {
            let [_, owner, group, _, _, mode]: [u32; 6] = to.read()?;
            let mut segments = SEGMENTS.lock();
            let segment = segments.get(id)?;
            segment.owner = [owner, group];
            segment.mode = mode & 0o777;
            segment.changed_s = now_s();
            Ok(0)
        }
        // All memory stays where it is.
        SHM_LOCK | SHM_UNLOCK => SEGMENTS.lock().get(id).map(|_| 0),
        _ => Err(Errno::EINVAL),
    }
}

/// Removes a segment: it cannot be found by its key any more, and its memory goes with the last
/// detach.
fn remove(id: u64) -> Result {
    let mut segments = SEGMENTS.lock();
    let segment = segments.get(id)?;
    segment.key = IPC_PRIVATE;
    let kept = segment.kept.take();
    drop(segments);
    // This may be the last reference to many pages: not under the lock.
    drop(kept);
    Ok(0)
}
