//! Descriptors that are looked up without a lock, while others close and open them.

use std::sync::Arc;

use kcore::lookup::{Claim, MARK, Slot, wait_for_lookups};
use loom::thread::{self, yield_now};

use crate::{Contents, explore};

/// Names of two objects.
const FILE: u64 = 2;
const OTHER: u64 = 4;

/// Two slots, the claims of two CPUs, and the memory of what is named.
struct Table {
    slots: [Slot; 2],
    claims: [Claim; 2],
    file: Arc<Contents>,
    other: Arc<Contents>,
}

impl Table {
    fn new(first: u64, second: u64) -> Arc<Self> {
        let slots = [Slot::default(), Slot::default()];
        slots[0].set(first);
        slots[1].set(second);
        Arc::new(Self { slots, claims: Default::default(), file: Contents::new(), other: Contents::new() })
    }

    fn object(&self, name: u64) -> &Contents {
        match name {
            FILE => &self.file,
            OTHER => &self.other,
            _ => panic!("{name} is no name"),
        }
    }

    /// CPU `cpu` takes a reference of what is in `slot`; its name.
    fn look_up(&self, cpu: usize, slot: usize) -> Option<u64> {
        self.claims[cpu].look_up(&self.slots[slot], |name| {
            self.object(name).access();
            name
        })
    }

    /// Puts `word` in place of `name`, whose last reference the slot had: its memory is used
    /// anew.
    fn replace(&self, slot: usize, name: u64, word: u64) {
        self.slots[slot].set(word);
        wait_for_lookups(self.claims.iter(), name, yield_now);
        self.object(name).reuse();
    }
}

/// Runs `reader` on CPU 1 beside `closer`; what it gives.
fn beside<T: Send + 'static>(
    table: &Arc<Table>,
    closer: impl FnOnce(&Table),
    reader: impl FnOnce(&Table) -> T + Send + 'static,
) -> T {
    let shared = table.clone();
    let thread = thread::spawn(move || reader(&shared));
    closer(table);
    thread.join().unwrap()
}

/// A file is closed, and its memory used anew, while another CPU looks it up.
#[test]
fn closed_while_looked_up() {
    explore("closed while looked up", None, || {
        let table = Table::new(FILE, 0);
        beside(&table, |table| table.replace(0, FILE, 0), |table| table.look_up(1, 0));
        assert_eq!(table.look_up(0, 0), None);
    });
}

/// The same slot, and the same memory, get another file: the reader finds one of the two,
/// whole, or none.
#[test]
fn opened_again_while_looked_up() {
    explore("opened again while looked up", None, || {
        let table = Table::new(FILE, 0);
        beside(
            &table,
            |table| {
                table.replace(0, FILE, 0);
                // What is written to the new file's memory comes before its name.
                table.slots[0].set(FILE);
            },
            |table| table.look_up(1, 0),
        );
        assert_eq!(table.look_up(0, 0), Some(FILE));
    });
}

/// dup2: the slot has the old file or the new one, and is never seen empty.
#[test]
fn replaced_while_looked_up() {
    explore("replaced while looked up", None, || {
        let table = Table::new(FILE, 0);
        let found = beside(
            &table,
            |table| {
                table.other.reuse();
                table.replace(0, FILE, OTHER | MARK);
            },
            |table| table.look_up(1, 0),
        );
        assert!(matches!(found, Some(FILE | OTHER)), "a slot that is replaced is never empty");
    });
}

/// A file that exec would close is found, and marked so meanwhile or no longer.
#[test]
fn marked_while_looked_up() {
    explore("marked while looked up", None, || {
        let table = Table::new(FILE | MARK, 0);
        let found = beside(&table, |table| table.slots[0].set(FILE), |table| table.look_up(1, 0));
        assert_eq!(found, Some(FILE));
        let found = beside(&table, |table| table.slots[0].set(FILE | MARK), |table| table.look_up(1, 0));
        assert_eq!(found, Some(FILE));
    });
}

/// A CPU that looks up one file after the other: a claim of the second hides that of the
/// first.
#[test]
fn two_lookups_in_a_row() {
    explore("two lookups in a row", None, || {
        let table = Table::new(FILE, OTHER);
        beside(
            &table,
            |table| table.replace(0, FILE, 0),
            |table| {
                table.look_up(1, 0);
                table.look_up(1, 1)
            },
        );
    });
}

/// Two CPUs look up one file that a third closes.
#[test]
fn two_readers() {
    explore("two readers", Some(3), || {
        let table = Table::new(FILE, 0);
        let second = table.clone();
        let second = thread::spawn(move || second.look_up(0, 0));
        beside(&table, |table| table.replace(0, FILE, 0), |table| table.look_up(1, 0));
        second.join().unwrap();
    });
}
