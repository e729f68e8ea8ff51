//! Page faults that fill entries without a lock, while others change entries and free tables.

use std::sync::Arc;

use kcore::gate::Gate;
use loom::sync::Mutex;
use loom::sync::atomic::{AtomicU64, Ordering};
use loom::thread::{self, yield_now};

use crate::{Contents, explore};

/// An entry that names no page.
const EMPTY: u64 = 0;

/// A leaf table of one entry, its gate, and the lock that guards its changes.
struct Leaf {
    /// Whether the table is there; changed under the lock.
    table: Mutex<bool>,
    gate: Gate,
    entry: AtomicU64,
    /// The table's memory.
    memory: Arc<Contents>,
}

impl Leaf {
    /// A leaf table, and the number that a fault under the lock has remembered.
    fn new() -> (Arc<Self>, u64) {
        let (table, gate, entry) = (Mutex::new(true), Gate::default(), AtomicU64::new(EMPTY));
        let number = gate.number();
        (Arc::new(Self { table, gate, entry, memory: Contents::new() }), number)
    }

    /// A fault without the lock: whether it came in, and whether it filled the entry with `page`.
    fn fault(&self, number: u64, page: u64) -> Option<bool> {
        self.gate.enter(number, || {
            self.memory.access();
            self.entry.compare_exchange(EMPTY, page, Ordering::AcqRel, Ordering::Acquire).is_ok()
        })
    }

    /// A fault under the lock, if the table is there: as [`Leaf::fault`].
    fn fault_locked(&self, page: u64) -> Option<bool> {
        let table = self.table.lock().unwrap();
        table.then(|| {
            self.memory.access();
            self.entry.compare_exchange(EMPTY, page, Ordering::AcqRel, Ordering::Acquire).is_ok()
        })
    }

    /// munmap: empties the entry, and frees the table, whose memory is used anew. What the
    /// entry named.
    fn unmap(&self) -> u64 {
        let mut table = self.table.lock().unwrap();
        self.gate.close(|| yield_now);
        let page = self.entry.load(Ordering::Relaxed);
        self.entry.store(EMPTY, Ordering::Relaxed);
        *table = false;
        self.memory.reuse();
        page
    }
}

/// A table is freed, and its memory used anew, while another CPU faults in it. The page that
/// the fault has filled in is found.
#[test]
fn unmapped_while_a_fault_fills() {
    explore("unmapped while a fault fills", None, || {
        let (leaf, number) = Leaf::new();
        let other = leaf.clone();
        let fault = thread::spawn(move || other.fault(number, 1));
        let taken = leaf.unmap();
        let filled = fault.join().unwrap();
        assert_eq!(taken == 1, filled == Some(true), "a page that is lost");
        assert_eq!(leaf.entry.load(Ordering::Relaxed), EMPTY, "a page that is mapped after munmap");
        assert_eq!(leaf.fault(number, 2), None, "a number from before the change");
    });
}

/// mprotect: entries are changed where they are, and an entry that is filled later has the new
/// permissions.
#[test]
fn protected_while_a_fault_fills() {
    const WRITABLE: u64 = 2;
    explore("protected while a fault fills", None, || {
        let (leaf, number) = Leaf::new();
        let other = leaf.clone();
        let fault = thread::spawn(move || other.fault(number, 1 | WRITABLE));
        {
            let _table = leaf.table.lock().unwrap();
            leaf.gate.close(|| yield_now);
            let old = leaf.entry.load(Ordering::Relaxed);
            leaf.entry.store(old & !WRITABLE, Ordering::Relaxed);
        }
        fault.join().unwrap();
        assert_eq!(leaf.entry.load(Ordering::Relaxed) & WRITABLE, 0, "a store that is not allowed");
    });
}

/// Two threads fault in the same page without the lock, and a third unmaps it.
#[test]
fn two_faults_in_one_page() {
    explore("two faults in one page", Some(3), || {
        let (leaf, number) = Leaf::new();
        let faults = [1, 2].map(|page| {
            let other = leaf.clone();
            thread::spawn(move || (page, other.fault(number, page)))
        });
        let taken = leaf.unmap();
        let faults = faults.map(|fault| fault.join().unwrap());
        let filled: Vec<u64> =
            faults.iter().filter(|(_, filled)| *filled == Some(true)).map(|&(page, _)| page).collect();
        assert!(filled.len() <= 1, "an entry that is filled twice");
        assert_eq!(taken, filled.first().copied().unwrap_or(EMPTY), "a page that is lost");
    });
}

/// A fault with the lock and one without it, in the same page.
#[test]
fn beside_a_fault_with_the_lock() {
    explore("beside a fault with the lock", None, || {
        let (leaf, number) = Leaf::new();
        let other = leaf.clone();
        let fault = thread::spawn(move || other.fault(number, 1));
        let locked = leaf.fault_locked(2);
        let filled = fault.join().unwrap();
        assert_eq!(filled, Some(locked == Some(false)), "one of two faults fills the entry");
        assert_ne!(leaf.unmap(), EMPTY);
    });
}

/// Changes one after the other, each beside the fault.
#[test]
fn two_changes_in_a_row() {
    explore("two changes in a row", None, || {
        let (leaf, number) = Leaf::new();
        let other = leaf.clone();
        let fault = thread::spawn(move || other.fault(number, 1));
        leaf.gate.close(|| yield_now);
        leaf.memory.reuse();
        leaf.gate.close(|| yield_now);
        leaf.memory.reuse();
        fault.join().unwrap();
    });
}
