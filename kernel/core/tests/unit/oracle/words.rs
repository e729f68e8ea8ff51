//! What the oracle says.

use kcore::machine::Stamp;
use kcore::mm::flush::FlushRange;
use kcore::oracle::Event;

use super::{flush_local, live, on_two};
use crate::{CPU0, CPU1};

#[test]
fn the_history_is_in_order_and_bounded() {
    let mut shadow = live();
    for _ in 0..100 {
        shadow.load(CPU1, false).unwrap();
        shadow.leave(CPU1);
    }
    let records: Vec<_> = shadow.history().collect();
    assert!(records.len() < 100);
    assert!(records.windows(2).all(|pair| pair[0].at < pair[1].at));
    assert_eq!(records.last().unwrap().event, Event::Leave);
}

#[test]
fn it_names_the_offender() {
    let mut shadow = on_two();
    let removed = shadow.now();
    flush_local(&mut shadow, CPU0, FlushRange::Everything);
    let violation = shadow.free_tables(CPU0, removed).unwrap_err();
    assert_eq!(
        violation.to_string(),
        "page tables are freed and CPU 1 may hold walk-cache entries of before #4, not flushed since #3"
    );
    assert_eq!(violation.since, Stamp::new(3));
    let said: Vec<_> = shadow.history().map(ToString::to_string).collect();
    assert_eq!(
        said[1..],
        [
            "#2 CPU 0: loads the PID",
            "#3 CPU 1: loads the PID",
            "#6 CPU 0: tlbiel of everything (RIC=2), begun after #5",
            "#7 CPU 0: frees page tables",
        ]
    );
}
