//! System V shared memory, by `ipc`: memory that has a number, and is mapped by it.
//!
//! A segment is an [`Object`]. How often it is attached is the number of references that
//! areas have to it: fork and a cut in two add some, munmap, exec and exit take some away,
//! and nobody has to count. A segment that is removed keeps a weak reference only, so that
//! its memory goes with the last of them.

use alloc::collections::BTreeMap;
use alloc::sync::{Arc, Weak};

use super::Result;
use crate::clock;
use crate::errno::Errno;
use crate::mm::{self, Backing, MapFlags, Object, Prot, heap};
use crate::process::{current, user_memory};
use crate::sync::Mutex;
use crate::task;
use arch::addr::PAGE_SIZE;

/// shmget: make the segment if there is none with the key.
const IPC_CREAT: u64 = 0o1000;
/// shmget: … and only then.
const IPC_EXCL: u64 = 0o2000;
/// shmget: of huge pages, of which there are none.
const SHM_HUGETLB: u64 = 0o4000;
/// The key of a segment that nobody finds by its key.
const IPC_PRIVATE: u32 = 0;
/// The most segments (Linux: SHMMNI).
const MOST_SEGMENTS: usize = 4096;
/// What a segment takes on the heap, at most.
const HEAP_BYTES: usize = 4 << 10;

struct Segment {
    memory: Weak<Object>,
    /// Keeps the memory until it is removed; then it goes with the last detach.
    kept: Option<Arc<Object>>,
    key: u32,
    /// Owner and group, and those of the creator.
    owner: [u32; 2],
    mode: u32,
    bytes: u64,
    /// The processes that made it, and that attached or detached it last.
    creator: u32,
    last: u32,
    /// When it was attached, detached and changed last, in seconds since 1970.
    attached_s: u64,
    detached_s: u64,
    changed_s: u64,
}

struct Segments {
    next_id: u32,
    by_id: BTreeMap<u32, Segment>,
}

/// Nests inside an `mmap_lock`; nothing but the heap's locks inside it.
static SEGMENTS: Mutex<Segments> = Mutex::new(Segments { next_id: 0, by_id: BTreeMap::new() });

impl Segment {
    fn object(&self) -> Result<Arc<Object>> {
        self.memory.upgrade().ok_or(Errno::EINVAL)
    }
}

impl Segments {
    /// The segment `id`. Those that went with their last detach are forgotten here.
    fn get(&mut self, id: u64) -> Result<&mut Segment> {
        self.by_id.retain(|_, segment| segment.memory.strong_count() != 0);
        self.by_id.get_mut(&(id as u32)).ok_or(Errno::EINVAL)
    }

    fn find(&self, key: u32) -> Option<(u32, &Segment)> {
        let mut all = self.by_id.iter().map(|(&id, segment)| (id, segment));
        all.find(|(_, segment)| segment.key == key).filter(|_| key != IPC_PRIVATE)
    }

    fn add(&mut self, key: u32, bytes: u64, mode: u32) -> Result {
        if self.by_id.len() >= MOST_SEGMENTS {
            return Err(Errno::ENOSPC);
        }
        while self.by_id.contains_key(&self.next_id) {
            self.next_id = (self.next_id + 1) & i32::MAX as u32;
        }
        let id = self.next_id;
        self.next_id = (id + 1) & i32::MAX as u32;
        let object = Arc::new(Object::new(bytes));
        let segment = Segment {
            memory: Arc::downgrade(&object),
            kept: Some(object),
            key,
            owner: [0; 2],
            mode,
            bytes,
            creator: current().pid,
            last: 0,
            attached_s: 0,
            detached_s: 0,
            changed_s: now_s(),
        };
        self.by_id.insert(id, segment);
        Ok(id.into())
    }
}

fn now_s() -> u64 {
    clock::realtime_ns() / 1_000_000_000
}

/// The one call for all of System V's. Semaphores and messages are not there.
pub(super) fn ipc(call: u64, first: u64, second: u64, third: u64, pointer: u64) -> Result {
    const SHMAT: u64 = 21;
    const SHMDT: u64 = 22;
    const SHMGET: u64 = 23;
    const SHMCTL: u64 = 24;
    // Above the number is a version, which only shmat of old had.
    let call = call as u32;
    match (u64::from(call & 0xffff), call >> 16) {
        (SHMAT, 1) => Err(Errno::EINVAL),
        (SHMAT, _) => {
            let at = shmat(first, pointer, second)?;
            user_memory::write(third, at).map(|()| 0)
        }
        (SHMDT, _) => shmdt(pointer),
        (SHMGET, _) => shmget(first as u32, second, third),
        (SHMCTL, _) => shmctl(first, second, pointer),
        _ => Err(Errno::ENOSYS),
    }
}

fn shmget(key: u32, bytes: u64, flags: u64) -> Result {
    heap::check_room(HEAP_BYTES)?;
    let mut segments = SEGMENTS.lock();
    // Forgets those that are gone.
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
    /// Whatever is mapped there.
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
        // What is mapped there already is in the way: to shmat a bad address.
        if errno == Errno::EEXIST { Errno::EINVAL } else { errno }
    })?;
    // Another thread may have removed and detached it since.
    if let Ok(segment) = SEGMENTS.lock().get(id) {
        (segment.last, segment.attached_s) = (current().pid, now_s());
    }
    Ok(at)
}

fn shmdt(address: u64) -> Result {
    let segment_of = |object: &Object| {
        let segments = SEGMENTS.lock();
        let is_it = |segment: &Segment| segment.object().is_ok_and(|one| one.id() == object.id());
        segments.by_id.iter().find(|(_, segment)| is_it(segment)).map(|(&id, _)| id)
    };
    let id = mm::detach(task::current().mm.mm(), address, segment_of)?;
    if let Ok(segment) = SEGMENTS.lock().get(id.into()) {
        (segment.last, segment.detached_s) = (current().pid, now_s());
    }
    Ok(0)
}

fn shmctl(id: u64, command: u64, to: u64) -> Result {
    /// The structures are those of today.
    const IPC_64: u64 = 0x100;
    const IPC_RMID: u64 = 0;
    const IPC_SET: u64 = 1;
    const IPC_STAT: u64 = 2;
    const SHM_LOCK: u64 = 11;
    const SHM_UNLOCK: u64 = 12;
    match u64::from(command as u32) & !IPC_64 {
        IPC_RMID => remove(id),
        IPC_STAT => {
            let status = status(SEGMENTS.lock().get(id)?);
            user_memory::write(to, status).map(|()| 0)
        }
        IPC_SET => {
            let [_, owner, group, _, _, mode]: [u32; 6] = user_memory::read(to)?;
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

/// Nobody finds it by its key any more; its memory goes with the last detach.
fn remove(id: u64) -> Result {
    let mut segments = SEGMENTS.lock();
    let segment = segments.get(id)?;
    segment.key = IPC_PRIVATE;
    let kept = segment.kept.take();
    drop(segments);
    // Perhaps the last reference to many pages: not under the lock.
    drop(kept);
    Ok(0)
}

/// Linux's `struct shmid64_ds` of powerpc64, with its `struct ipc64_perm`.
fn status(segment: &Segment) -> [u64; 14] {
    /// The mode of a segment that goes with its last detach.
    const SHM_DEST: u32 = 0o1000;
    let pair = |high: u32, low: u32| u64::from(high) << 32 | u64::from(low);
    let mode = segment.mode | if segment.kept.is_none() { SHM_DEST } else { 0 };
    let [owner, group] = segment.owner;
    let mut words = [0; 14];
    // The creator's numbers, the sequence number and what is reserved are 0.
    words[..3].copy_from_slice(&[pair(segment.key, owner), pair(group, 0), pair(0, mode)]);
    words[6..9].copy_from_slice(&[segment.attached_s, segment.detached_s, segment.changed_s]);
    words[9..12].copy_from_slice(&[
        segment.bytes,
        pair(segment.creator, segment.last),
        // Areas that map it.
        (segment.memory.strong_count() - usize::from(segment.kept.is_some())) as u64,
    ]);
    words
}
