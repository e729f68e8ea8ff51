//! The sentences that the oracle reports.

use kcore::event::Stamp;
use kcore::mm::flush::FlushRange;
use shadow_tlb::Told;

use crate::{CPU0, CPU1, flush_local, free_table, live, on_two, remove};

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
    assert_eq!(records.last().unwrap().told, Told::Leave);
}

#[test]
fn it_names_the_offender() {
    let mut shadow = on_two();
    remove(&mut shadow);
    flush_local(&mut shadow, CPU0, FlushRange::Everything);
    let violation = free_table(&mut shadow).unwrap_err();
    assert_eq!(
        violation.to_string(),
        "page table 0x99 is freed and CPU 1 may hold walk-cache entries of before #6, not flushed since #3"
    );
    assert_eq!(violation.since, Stamp::new(3));
    let said: Vec<_> = shadow.history().map(ToString::to_string).collect();
    assert_eq!(
        said[1..],
        [
            "#2 CPU 0: loads the PID",
            "#3 CPU 1: loads the PID",
            "#5 CPU 0: has changed entries, that of 0x10000 first",
            "#7 CPU 0: has taken table 0x99 out of the tree",
            "#9 CPU 0: tlbiel of everything (RIC=2), begun after #8",
            "#10 CPU 0: frees frame 0x99",
        ]
    );
}
