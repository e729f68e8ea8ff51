//! The words by which a counted object is looked up in a table without a lock, while others
//! take it out: a descriptor's file.
//!
//! Not part of the lazy-TLB protocol: it is here so that loom explores the very code that
//! the table runs. The idea is that of [`lazy_tlb`](crate::lazy_tlb)'s policy hazard, turned
//! to counts: a CPU publishes what it is about to take a reference of.
//!
//! ```text
//! look_up (preemption off)               clear or replace, under the table's lock
//! claim = name                           slot = 0, or another name
//! full fence (F24)                       full fence (F24)
//! slot is still name? take a reference   wait while a CPU's claim is name
//! claim = 0                              give up the slot's reference
//! ```
//! One of the two sees the other: either the second look finds the slot changed, or the wait
//! finds the claim. A name that has meanwhile died and come back in the same slot is as good
//! as the first, since the slot has a reference to what it names now.

use crate::sync::{AtomicU64, Ordering, fence};

/// A bit of a slot's word that is no part of the name: its owner's, for what it likes.
pub const MARK: u64 = 1;

/// A place in a table: the name of an object, to which the table has a reference, or 0. Names
/// are addresses of at least two bytes' alignment. Changed under the table's lock.
#[derive(Default)]
#[repr(transparent)]
pub struct Slot(AtomicU64);

impl Slot {
    /// The name and the mark. Under the table's lock, or by its only user, or as a hint.
    #[inline]
    pub fn word(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Changes name and mark. The object is as it should be before. Who looked up the old
    /// name may still be at it: [`wait_for_lookups`].
    #[inline]
    pub fn set(&self, word: u64) {
        // F25 release: orders the object before its name. Partner: `look_up`.
        self.0.store(word, Ordering::Release);
    }
}

/// What one CPU is about to take a reference of, or 0. Written by that CPU only, and read by
/// those who take names out of slots. A line of its own.
#[derive(Default)]
#[repr(align(128))]
pub struct Claim(AtomicU64);

impl Claim {
    /// By the CPU itself, with preemption off from before until after: what `take` makes of
    /// the name in `slot`, or none if that is empty. `take` makes a reference; it is short,
    /// and the object is there until it returns.
    #[inline]
    pub fn look_up<T>(&self, slot: &Slot, take: impl FnOnce(u64) -> T) -> Option<T> {
        let mut name = slot.word() & !MARK;
        while name != 0 {
            // F26 release: orders the former `take` before a word that hides its claim.
            // Partner: `wait_for_lookups`.
            self.0.store(name, Ordering::Release);
            // F24 fence: orders the claim before the second look at the slot. Partner:
            // `wait_for_lookups`.
            fence(Ordering::SeqCst);
            // F25 acquire: orders the name before the use of the object. Partner: `set`.
            let now = slot.0.load(Ordering::Acquire) & !MARK;
            if now == name {
                let taken = take(name);
                // F26 release: orders `take` before the end of the claim. Partner:
                // `wait_for_lookups`.
                self.0.store(0, Ordering::Release);
                return Some(taken);
            }
            name = now;
        }
        // Relaxed: nothing was done under the claim, if there was one.
        self.0.store(0, Ordering::Relaxed);
        None
    }
}

/// By a thread that has taken `name` out of a slot, before it gives up the reference: when
/// this returns, every [`Claim::look_up`] that has found the name there has its own. `claims`
/// are those of all CPUs that may look something up; `turn` is called while one is waited for.
pub fn wait_for_lookups<'a>(claims: impl Iterator<Item = &'a Claim>, name: u64, mut turn: impl FnMut()) {
    // F24 fence: orders the changed slot before the look at the claims. Partner: `look_up`.
    fence(Ordering::SeqCst);
    for claim in claims {
        // F26 acquire: orders a claim of something else, or none, before the end of our
        // reference. Partner: `look_up`.
        while claim.0.load(Ordering::Acquire) == name {
            turn();
        }
    }
}
