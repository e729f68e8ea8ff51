//! The search itself. Each outcome here is one that loom's own atomics do not show: if
//! one is missing, the other tests prove less than they print.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use kcore::sync::{AtomicU64, Ordering, fence};

use crate::explore;

#[derive(Default)]
struct Litmus {
    x: AtomicU64,
    y: AtomicU64,
}

fn load(variable: &AtomicU64) -> u64 {
    variable.load(Ordering::Relaxed)
}

fn store(variable: &AtomicU64) {
    variable.store(1, Ordering::Relaxed);
}

/// What `reader` returns in some execution beside `writer`.
fn outcomes<T: Ord + Send + 'static>(
    name: &str,
    reader: fn(&Litmus) -> T,
    writer: fn(&Litmus),
) -> BTreeSet<T> {
    let outcomes = Arc::new(Mutex::new(BTreeSet::new()));
    let seen = outcomes.clone();
    explore(name, None, move || {
        let litmus = Arc::new(Litmus::default());
        let theirs = litmus.clone();
        let thread = loom::thread::spawn(move || writer(&theirs));
        seen.lock().unwrap().insert(reader(&litmus));
        thread.join().unwrap();
    });
    std::mem::take(&mut *outcomes.lock().unwrap())
}

#[test]
fn a_store_before_a_load_that_a_load_hides() {
    let reader = |litmus: &Litmus| load(&litmus.x);
    let writer = |litmus: &Litmus| {
        load(&litmus.x);
        store(&litmus.x);
    };
    assert_eq!(outcomes("search: a hidden load", reader, writer), [0, 1].into());
}

#[test]
fn fences_in_both_orders() {
    let reader = |litmus: &Litmus| {
        let x = load(&litmus.x);
        fence(Ordering::SeqCst);
        (x, load(&litmus.y))
    };
    // The stores may be seen in the wrong order if the reader's fence comes first.
    let writer = |litmus: &Litmus| {
        store(&litmus.y);
        store(&litmus.x);
        fence(Ordering::SeqCst);
    };
    let all = [(0, 0), (0, 1), (1, 0), (1, 1)].into();
    assert_eq!(outcomes("search: two fences", reader, writer), all);
}
