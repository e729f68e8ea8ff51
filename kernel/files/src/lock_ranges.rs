//! Which bytes of a file are locked, by which process: fcntl's record locks as a list.

use alloc::vec::Vec;

/// A process, as record locks know it: by its table of descriptors. A close takes the locks of
/// that table away (Linux's `fl_owner`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner(
    /// A number that no other process has meanwhile.
    pub usize,
);

/// One lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// The process that has the lock, or wants it.
    pub owner: Owner,
    /// The process, for F_GETLK.
    pub pid: u32,
    /// Whether other processes may have no lock there. Else they may have shared ones.
    pub exclusive: bool,
    /// The first byte.
    pub first: u64,
    /// The last byte.
    pub last: u64,
}

/// How many entries a change can add: a lock that is cut in two, and a new one.
pub const ADDED: usize = 2;

impl Range {
    fn overlaps(&self, other: &Range) -> bool {
        self.first <= other.last && other.first <= self.last
    }

    /// Whether there is no byte between the two locks.
    fn touches(&self, other: &Range) -> bool {
        self.first <= other.last.saturating_add(1) && other.first <= self.last.saturating_add(1)
    }
}

/// A lock of another owner that keeps `wanted` from being set: the first by position.
pub fn conflict<'a>(held: &'a [Range], wanted: &Range) -> Option<&'a Range> {
    let in_the_way = |other: &&Range| {
        other.owner != wanted.owner && other.overlaps(wanted) && (other.exclusive || wanted.exclusive)
    };
    held.iter().filter(in_the_way).min_by_key(|other| other.first)
}

/// Sets `wanted`, which no lock conflicts with, in place of what its owner has there. Locks of
/// one kind that touch become one. There is room for [`ADDED`] more entries.
pub fn set(held: &mut Vec<Range>, mut wanted: Range) {
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

/// Takes away what the owner of `unwanted` has there, of either kind. There is room for one
/// more entry.
pub fn clear(held: &mut Vec<Range>, unwanted: &Range) {
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

#[cfg(test)]
mod tests {
    use super::*;

    const BYTES: usize = 12;
    const OWNERS: usize = 3;

    /// What each owner has on each byte: nothing, a shared lock, an exclusive one.
    type Model = [[Option<bool>; BYTES]; OWNERS];

    fn lock(owner: usize, exclusive: bool, first: usize, last: usize) -> Range {
        Range { owner: Owner(owner), pid: 1, exclusive, first: first as u64, last: last as u64 }
    }

    fn conflict_of(model: &Model, wanted: &Range) -> bool {
        let there = wanted.first as usize..=wanted.last as usize;
        let others = (0..OWNERS).filter(|&owner| Owner(owner) != wanted.owner);
        others.flat_map(|owner| &model[owner][there.clone()]).flatten().any(|&held| held || wanted.exclusive)
    }

    /// The runs of one kind, as the list must hold them: no two of one kind touch.
    fn runs(model: &Model) -> Vec<(usize, bool, u64, u64)> {
        let mut runs: Vec<(usize, bool, u64, u64)> = Vec::new();
        for (owner, bytes) in model.iter().enumerate() {
            for (at, held) in bytes.iter().enumerate() {
                let (Some(exclusive), at) = (*held, at as u64) else { continue };
                match runs.last_mut() {
                    Some(run) if (run.0, run.1, run.3 + 1) == (owner, exclusive, at) => run.3 = at,
                    _ => runs.push((owner, exclusive, at, at)),
                }
            }
        }
        runs
    }

    #[test]
    fn as_a_model_byte_by_byte() {
        let mut random = 1_u64;
        let mut below = |limit: usize| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) as usize % limit
        };
        let (mut held, mut model): (Vec<Range>, Model) = Default::default();
        for _ in 0..5_000 {
            let (one, other, owner) = (below(BYTES), below(BYTES), below(OWNERS));
            let wanted = lock(owner, below(3) == 0, one.min(other), one.max(other));
            let there = wanted.first as usize..=wanted.last as usize;
            let before = held.len();
            if below(3) == 0 {
                clear(&mut held, &wanted);
                model[owner][there].fill(None);
            } else {
                let found = conflict(&held, &wanted).map(|found| found.first);
                assert_eq!(found.is_some(), conflict_of(&model, &wanted), "{held:?} {wanted:?}");
                let in_the_way = |other: &&Range| conflict(core::slice::from_ref(*other), &wanted).is_some();
                assert_eq!(found, held.iter().filter(in_the_way).map(|other| other.first).min());
                if found.is_some() {
                    continue;
                }
                set(&mut held, wanted);
                model[owner][there].fill(Some(wanted.exclusive));
            }
            assert!(held.len() <= before + ADDED);
            let mut listed: Vec<_> =
                held.iter().map(|lock| (lock.owner.0, lock.exclusive, lock.first, lock.last)).collect();
            listed.sort_unstable_by_key(|&(owner, _, first, _)| (owner, first));
            assert_eq!(listed, runs(&model));
        }
    }

    #[test]
    fn locks_at_the_end_of_all_offsets() {
        let mut held = Vec::new();
        set(&mut held, Range { last: u64::MAX, ..lock(0, true, 5, 5) });
        set(&mut held, lock(0, true, 4, 4));
        assert_eq!(held, [Range { last: u64::MAX, ..lock(0, true, 4, 4) }]);
        clear(&mut held, &Range { last: u64::MAX, ..lock(0, false, 6, 6) });
        assert_eq!(held, [lock(0, true, 4, 5)]);
    }
}
