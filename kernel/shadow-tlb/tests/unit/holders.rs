//! Holders of another kind: CPUs that stop and start, and coprocessors.

use kcore::mm::flush::FlushRange;
use shadow_tlb::{Holder, Shadow, Subject};

use crate::{
    ALL_FIRST, COPRO, CPU0, CPU1, CPU2, ENTRY, TRANSLATION, WALK, flush_global, flush_local, free_frame,
    free_table, held, live, on_two, remove,
};

#[test]
fn a_cpu_that_drops_everything_before_it_stops() {
    let mut shadow = on_two();
    shadow.leave(CPU1);
    shadow.flush_cpu(CPU1);
    remove(&mut shadow);
    flush_local(&mut shadow, CPU0, FlushRange::Everything);
    free_frame(&mut shadow).unwrap();
    free_table(&mut shadow).unwrap();
    shadow.leave(CPU0);
    shadow.clear_entry(CPU0);
    flush_local(&mut shadow, CPU0, FlushRange::Everything);
    shadow.free_pid(CPU0).unwrap();
}

/// A CPU that frees skips it: it is in no mask any more.
#[test]
fn a_cpu_that_stops_without_a_flush() {
    let mut shadow = on_two();
    shadow.leave(CPU1);
    remove(&mut shadow);
    flush_local(&mut shadow, CPU0, FlushRange::Everything);
    assert_eq!(held(free_frame(&mut shadow)), (1, TRANSLATION));
    assert_eq!(held(free_table(&mut shadow)), (1, WALK));
    shadow.leave(CPU0);
    shadow.clear_entry(CPU0);
    flush_local(&mut shadow, CPU0, FlushRange::Everything);
    assert_eq!(held(shadow.free_pid(CPU0)), (1, ENTRY));
}

#[test]
fn a_cpu_that_stops_with_the_pid_loaded() {
    let mut shadow = on_two();
    shadow.flush_cpu(CPU1);
    remove(&mut shadow);
    flush_local(&mut shadow, CPU0, FlushRange::Everything);
    assert_eq!(held(free_table(&mut shadow)), (1, WALK));
}

/// Its flush was reported, so its first load finds nothing old.
#[test]
fn a_cpu_that_starts_with_a_flush() {
    let mut shadow = on_two();
    shadow.leave(CPU1);
    shadow.flush_cpu(CPU1);
    remove(&mut shadow);
    flush_local(&mut shadow, CPU0, FlushRange::Everything);
    shadow.flush_cpu(CPU1);
    shadow.load(CPU1, false).unwrap();
    free_frame(&mut shadow).unwrap();
    // From here on it is like any other CPU.
    remove(&mut shadow);
    flush_local(&mut shadow, CPU0, FlushRange::Everything);
    assert_eq!(held(free_frame(&mut shadow)), (1, TRANSLATION));
}

#[test]
fn a_cpu_that_starts_without_a_flush() {
    let mut shadow = live();
    let violation = shadow.load(CPU1, true).unwrap_err();
    assert_eq!((violation.holder, &violation.subject), (Holder::Cpu(CPU1), &Subject::Start));
    assert_eq!(violation.to_string(), "CPU 1 loads the PID with what its TLB held when it started");
}

/// A PID that a coprocessor has, and no CPU.
fn on_coprocessor() -> Shadow {
    let mut shadow = live();
    shadow.copro_load(CPU0);
    shadow
}

#[test]
fn a_coprocessor_hears_a_broadcast() {
    for what in [ALL_FIRST, FlushRange::Translations, FlushRange::Everything] {
        let mut shadow = on_coprocessor();
        remove(&mut shadow);
        assert_eq!(held(free_frame(&mut shadow)), (COPRO, TRANSLATION));
        flush_global(&mut shadow, what);
        free_frame(&mut shadow).unwrap();
    }
}

/// Neither `tlbiel`, here or in a cross-call, nor the flush of a CPU that stops.
#[test]
fn a_coprocessor_hears_nothing_else() {
    let mut shadow = on_coprocessor();
    shadow.load(CPU1, false).unwrap();
    remove(&mut shadow);
    for cpu in [CPU0, CPU1, CPU2] {
        flush_local(&mut shadow, cpu, FlushRange::Everything);
    }
    shadow.leave(CPU1);
    shadow.flush_cpu(CPU1);
    assert_eq!(held(free_frame(&mut shadow)), (COPRO, TRANSLATION));
    let violation = free_table(&mut shadow).unwrap_err();
    assert_eq!(
        violation.to_string(),
        "page table 0x99 is freed and a coprocessor may hold walk-cache entries of before #6, not flushed since #2"
    );
}

#[test]
fn a_coprocessor_keeps_what_it_has() {
    let mut shadow = on_coprocessor();
    shadow.copro_leave(CPU0);
    remove(&mut shadow);
    flush_local(&mut shadow, CPU0, FlushRange::Everything);
    assert_eq!(held(free_frame(&mut shadow)), (COPRO, TRANSLATION));
    shadow.clear_entry(CPU0);
    assert_eq!(held(shadow.free_pid(CPU0)), (COPRO, ENTRY));
}

#[test]
fn a_coprocessor_that_leaves_before_its_last_broadcast() {
    let mut shadow = on_coprocessor();
    shadow.copro_leave(CPU0);
    flush_global(&mut shadow, FlushRange::Everything);
    // From here on flushes are local again.
    remove(&mut shadow);
    flush_local(&mut shadow, CPU0, FlushRange::Everything);
    free_frame(&mut shadow).unwrap();
    free_table(&mut shadow).unwrap();
    shadow.clear_entry(CPU0);
    shadow.free_pid(CPU0).unwrap();
}

#[test]
fn a_coprocessor_that_leaves_after_its_last_broadcast() {
    let mut shadow = on_coprocessor();
    flush_global(&mut shadow, FlushRange::Everything);
    shadow.copro_leave(CPU0);
    remove(&mut shadow);
    assert_eq!(held(free_frame(&mut shadow)), (COPRO, TRANSLATION));
}

#[test]
fn one_coprocessor_of_two_leaves() {
    let mut shadow = on_coprocessor();
    shadow.copro_load(CPU0);
    shadow.copro_leave(CPU0);
    flush_global(&mut shadow, FlushRange::Everything);
    remove(&mut shadow);
    assert_eq!(held(free_frame(&mut shadow)), (COPRO, TRANSLATION));
}

#[test]
fn a_pid_that_a_coprocessor_has() {
    let mut shadow = on_coprocessor();
    shadow.clear_entry(CPU0);
    flush_global(&mut shadow, FlushRange::Everything);
    assert_eq!(held(shadow.free_pid(CPU0)), (COPRO, None));
}
