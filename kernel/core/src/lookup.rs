//! The words by which a CPU finds a counted object in a table without a lock, while other CPUs
//! take it out: the description of a descriptor.
//!
//! Not part of the lazy-TLB protocol: it is here so that loom explores the very code that the
//! table runs. The idea is that of the policy hazard ([`lazy_tlb`](crate::lazy_tlb)): a CPU
//! publishes the name of the object that it is about to take a reference of.
//!
//! ```text
//! look_up (preemption off)               a change of the slot, under the table's lock
//! claim = name                           slot = 0, or another name
//! full fence (F25)                       full fence (F25)
//! slot is still name? take a reference   wait while a CPU's claim is name
//! claim = 0                              give up the slot's reference
//! ```
//! One of the two sees the other: either the second look finds the slot changed, or the wait
//! finds the claim. A name may meanwhile have left the slot and come back, for another object at
//! that address. Then the slot has a reference to the new object, and the claim protects that.

use crate::sync::{AtomicU64, Ordering, fence};

/// A bit of a slot's word that is no part of the name. The table's owner may use it.
pub const MARK: u64 = 1;

/// A place in a table: the name of an object, of which the slot has a reference, or 0. A name is
/// an even address. Changed under the table's lock.
#[derive(Default)]
#[repr(transparent)]
pub struct Slot(AtomicU64);

impl Slot {
    /// The name and the mark. Without the table's lock a hint, unless no other thread uses the
    /// table.
    #[inline]
    pub fn word(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Changes name and mark. A CPU that has found the old name may still take its reference:
    /// [`wait_for_lookups`].
    #[inline]
    pub fn set(&self, word: u64) {
        // F26 release: orders the object before its name. Partner: `look_up`.
        self.0.store(word, Ordering::Release);
    }
}

/// The name of the object that one CPU is about to take a reference of, or 0. Only that CPU
/// writes it; threads that take names out of slots read it. A line of its own.
#[derive(Default)]
#[repr(align(128))]
pub struct Claim(AtomicU64);

impl Claim {
    /// By the CPU itself, with preemption off until it returns: the answer of `take` to the
    /// name in `slot`, or none if the slot is empty. `take` makes a reference of the object,
    /// which is there until `take` returns. It is short: another CPU may spin for its end.
    #[inline]
    pub fn look_up<T>(&self, slot: &Slot, take: impl FnOnce(u64) -> T) -> Option<T> {
        let mut name = slot.word() & !MARK;
        while name != 0 {
            // F27 release: orders the former `take` before a word that hides its claim.
            // Partner: `wait_for_lookups`.
            self.0.store(name, Ordering::Release);
            // F25 fence: orders the claim before the second look at the slot. Partner:
            // `wait_for_lookups`.
            fence(Ordering::SeqCst);
            // F26 acquire: orders the name before the use of the object. Partner: `set`.
            let now = slot.0.load(Ordering::Acquire) & !MARK;
            if now == name {
                let taken = take(name);
                // F27 release: orders `take` before the end of the claim. Partner:
                // `wait_for_lookups`.
                self.0.store(0, Ordering::Release);
                return Some(taken);
            }
            name = now;
        }
        // Relaxed: `take` has not run under the claim, if there was one.
        self.0.store(0, Ordering::Relaxed);
        None
    }
}

/// By a thread that has taken `name` out of a slot, before it gives up the slot's reference. On
/// return every [`Claim::look_up`] that has found the name there has a reference of its own.
/// `claims` are those of all CPUs that may use the table. `turn` runs once each turn of the wait.
pub fn wait_for_lookups<'a>(claims: impl Iterator<Item = &'a Claim>, name: u64, mut turn: impl FnMut()) {
    // F25 fence: orders the changed slot before the look at the claims. Partner: `look_up`.
    fence(Ordering::SeqCst);
    for claim in claims {
        // F27 acquire: orders a claim of something else, or none, before the end of our
        // reference. Partner: `look_up`.
        while claim.0.load(Ordering::Acquire) == name {
            turn();
        }
    }
}
