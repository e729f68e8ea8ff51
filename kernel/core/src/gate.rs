//! The word by which page faults fill entries of one leaf table side by side, without the lock
//! that guards the changes of those entries.
//!
//! Not part of the lazy-TLB protocol: it is here so that loom explores the very code that the
//! page faults run. A fault under the lock, or a new mapping, finds the table, the area and its
//! permissions, and remembers the *number* of the table's gate. As long as the number is the same, what it has
//! found is true: the next fault needs no lock.
//!
//! ```text
//! fault (preemption off)                change of entries, under the lock
//! number is still mine? go in           next number
//! fill the entry, if it is empty        wait until no fault is inside (F28)
//! go out (F28)                          change entries, take the table away
//! ```
//! Number and faults inside are one word, so each of the two sees the other: a fault that goes in
//! first is waited for, and a fault that comes later finds another number. A gate may serve
//! several tables: then a change of one turns faults in the others away, which costs them the
//! lock once.

use crate::sync::{AtomicU64, Ordering};

/// One more fault inside.
const FAULT: u64 = 1;
/// One more change. Below it there is room for all CPUs: each has one fault inside at most.
const CHANGE: u64 = 1 << 16;
/// The faults inside.
const INSIDE: u64 = CHANGE - 1;

/// The gate of a leaf table: how often its entries were changed, and how many faults are inside.
/// In memory that is never freed, whatever becomes of the table.
#[derive(Default)]
#[repr(transparent)]
pub struct Gate(AtomicU64);

impl Gate {
    /// The number that lets a fault in until the next change. Under the lock.
    #[inline]
    pub fn number(&self) -> u64 {
        self.0.load(Ordering::Relaxed) & !INSIDE
    }

    /// Runs `fill` inside; none if entries were changed since `number` was the gate's. Preemption
    /// off. `fill` is short and takes no lock under which others wait for a gate.
    #[inline]
    pub fn enter<T>(&self, number: u64, fill: impl FnOnce() -> T) -> Option<T> {
        let same = |word: u64| (word & !INSIDE == number).then_some(word + FAULT);
        // Relaxed: nothing has changed since we held the lock, so there is nothing to see.
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, same).ok()?;
        let filled = fill();
        // F28 release: orders the filled entry before the way out. Partner: `is_empty`.
        self.0.fetch_sub(FAULT, Ordering::Release);
        Some(filled)
    }

    /// Before a change, under the lock: on return no fault is inside, and none comes in that does
    /// not remember a later number. If there is one to wait for, `turns` gives what runs once each
    /// turn of the wait.
    #[inline(always)]
    pub fn close<T: FnMut()>(&self, turns: impl FnOnce() -> T) {
        self.0.fetch_add(CHANGE, Ordering::Relaxed);
        if !self.is_empty() {
            self.wait(turns());
        }
    }

    #[cold]
    fn wait(&self, mut turn: impl FnMut()) {
        while !self.is_empty() {
            turn();
        }
    }

    /// Whether no fault is inside.
    fn is_empty(&self) -> bool {
        // F28 acquire: orders the entries of the faults before the look at the entries. Partner:
        // `enter`.
        self.0.load(Ordering::Acquire) & INSIDE == 0
    }
}
