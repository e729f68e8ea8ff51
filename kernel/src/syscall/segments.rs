//! The segments of System V's shared memory.
//!
//! A segment is an [`Object`]. The number of its attachments is the number of references that areas
//! hold: fork and a split of an area add some; munmap, exec and exit take some away. So no code
//! counts. A removed segment keeps only a weak reference: its memory goes with the last area.

use alloc::collections::BTreeMap;
use alloc::sync::{Arc, Weak};

use super::Result;
use crate::clock;
use crate::errno::Errno;
use crate::mm::Object;
use crate::process::current;
use crate::task::Mutex;

/// The key of a segment that cannot be found by a key.
pub(super) const IPC_PRIVATE: u32 = 0;
/// The most segments (Linux: SHMMNI).
const MOST_SEGMENTS: usize = 4096;
/// Most bytes of heap for a segment.
pub(super) const HEAP_BYTES: usize = 4 << 10;

/// One segment.
#[derive(Default)]
pub(super) struct Segment {
    memory: Weak<Object>,
    /// Keeps the memory until the segment is removed; then the memory goes with the last detach.
    pub(super) kept: Option<Arc<Object>>,
    pub(super) key: u32,
    /// Owner and group; the creator's are not kept.
    pub(super) owner: [u32; 2],
    pub(super) mode: u32,
    pub(super) bytes: u64,
    /// The processes that made it, and that attached or detached it last.
    creator: u32,
    pub(super) last: u32,
    /// When it was attached, detached and changed last, in seconds since 1970.
    pub(super) attached_s: u64,
    pub(super) detached_s: u64,
    pub(super) changed_s: u64,
}

/// All segments, by their numbers.
pub(super) struct Segments {
    next_id: u32,
    by_id: BTreeMap<u32, Segment>,
}

/// Nests inside an `mmap_lock`; nothing but the heap's locks inside it.
pub(super) static SEGMENTS: Mutex<Segments> = Mutex::new(Segments { next_id: 0, by_id: BTreeMap::new() });

impl Segment {
    /// Its memory. `EINVAL` if that is gone.
    pub(super) fn object(&self) -> Result<Arc<Object>> {
        self.memory.upgrade().ok_or(Errno::EINVAL)
    }

    /// Linux's `struct shmid64_ds` of powerpc64, with its `struct ipc64_perm`.
    pub(super) fn status(&self) -> [u64; 14] {
        /// The mode of a segment that goes with its last detach.
        const SHM_DEST: u32 = 0o1000;
        let pair = |high: u32, low: u32| u64::from(high) << 32 | u64::from(low);
        let is_kept = self.kept.is_some();
        let mode = self.mode | if is_kept { 0 } else { SHM_DEST };
        let [owner, group] = self.owner;
        // Areas that map it.
        let attaches = self.memory.strong_count() - usize::from(is_kept);
        let mut words = [0; 14];
        // The creator's numbers, the sequence number and reserved words are 0.
        words[..3].copy_from_slice(&[pair(self.key, owner), pair(group, 0), pair(0, mode)]);
        words[6..9].copy_from_slice(&[self.attached_s, self.detached_s, self.changed_s]);
        words[9..12].copy_from_slice(&[self.bytes, pair(self.creator, self.last), attaches as u64]);
        words
    }
}

impl Segments {
    /// The segment `id`. Segments whose memory went with their last detach are forgotten here.
    pub(super) fn get(&mut self, id: u64) -> Result<&mut Segment> {
        self.by_id.retain(|_, segment| segment.memory.strong_count() != 0);
        self.by_id.get_mut(&(id as u32)).ok_or(Errno::EINVAL)
    }

    /// The number of the segment that is found by `key`, and the segment.
    pub(super) fn find(&self, key: u32) -> Option<(u32, &Segment)> {
        let mut all = self.by_id.iter().map(|(&id, segment)| (id, segment));
        all.find(|(_, segment)| segment.key == key).filter(|_| key != IPC_PRIVATE)
    }

    /// The number of the segment whose memory is `object`.
    pub(super) fn find_object(&self, object: &Object) -> Option<u32> {
        let is_it = |segment: &Segment| segment.object().is_ok_and(|one| one.id() == object.id());
        self.by_id.iter().find(|(_, segment)| is_it(segment)).map(|(&id, _)| id)
    }

    /// A new segment's number. `ENOSPC`.
    pub(super) fn add(&mut self, key: u32, bytes: u64, mode: u32) -> Result {
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
            mode,
            bytes,
            creator: current().pid,
            changed_s: now_s(),
            ..Segment::default()
        };
        self.by_id.insert(id, segment);
        Ok(id.into())
    }
}

/// Seconds since 1970.
pub(super) fn now_s() -> u64 {
    clock::realtime_ns() / 1_000_000_000
}
