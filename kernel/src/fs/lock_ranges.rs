//! Which bytes of a file are locked, by which process: fcntl's record locks as a list.

use alloc::vec::Vec;

/// A process, as record locks know it: by its table of descriptors, which is what a close
/// takes locks away from (Linux's `fl_owner`).
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Owner(pub(super) usize);

/// One lock.
#[derive(Clone, Copy)]
pub(crate) struct Range {
    /// Who has it, or wants it.
    pub(crate) owner: Owner,
    /// The process, for F_GETLK.
    pub(crate) pid: u32,
    /// Whether others may have none there; else none that is exclusive.
    pub(crate) exclusive: bool,
    /// The first byte.
    pub(crate) first: u64,
    /// The last byte.
    pub(crate) last: u64,
}

/// How many entries a change can add: a lock that is cut in two, and a new one.
pub(super) const ADDED: usize = 2;

impl Range {
    fn overlaps(&self, other: &Range) -> bool {
        self.first <= other.last && other.first <= self.last
    }

    /// Whether there is no byte between them.
    fn touches(&self, other: &Range) -> bool {
        self.first <= other.last.saturating_add(1) && other.first <= self.last.saturating_add(1)
    }
}

/// A lock of another owner that keeps `wanted` from being set: the first by position.
pub(super) fn conflict<'a>(held: &'a [Range], wanted: &Range) -> Option<&'a Range> {
    let in_the_way = |other: &&Range| {
        other.owner != wanted.owner && other.overlaps(wanted) && (other.exclusive || wanted.exclusive)
    };
    held.iter().filter(in_the_way).min_by_key(|other| other.first)
}

/// Sets `wanted`, which nothing keeps from it, in place of what its owner has there. With
/// locks of the same kind beside it it becomes one. Room for [`ADDED`] more is there.
pub(super) fn set(held: &mut Vec<Range>, mut wanted: Range) {
    held.retain(|other| {
        let joined =
            other.owner == wanted.owner && other.exclusive == wanted.exclusive && other.touches(&wanted);
        if joined {
            wanted.first = wanted.first.min(other.first);
            wanted.last = wanted.last.max(other.last);
        }
        !joined
    });
    clear(held, &wanted);
    held.push(wanted);
}

/// Takes away what the owner of `unwanted` has there, of either kind. Room for one more is
/// there.
pub(super) fn clear(held: &mut Vec<Range>, unwanted: &Range) {
    for at in (0..held.len()).rev() {
        let whole = held[at];
        if whole.owner != unwanted.owner || !whole.overlaps(unwanted) {
            continue;
        }
        held.swap_remove(at);
        if whole.first < unwanted.first {
            held.push(Range { last: unwanted.first - 1, ..whole });
        }
        if whole.last > unwanted.last {
            held.push(Range { first: unwanted.last + 1, ..whole });
        }
    }
}
