//! CPUs that are lazy, and that a flush leaves out.

use kcore::mm::flush::FlushRange;
use shadow_tlb::{Shadow, Subject};

use crate::{
    ALL, ALL_FIRST, CPU0, CPU1, FIRST, FRAME, TABLE, TRANSLATION, WALK, flush_global, flush_local,
    free_frame, free_table, held, live, on_two,
};

/// CPU 0 flushes itself and spares CPU 1.
fn flush_and_spare(shadow: &mut Shadow, what: FlushRange) {
    let since = shadow.flush_begins();
    shadow.spared(CPU0, CPU1, since);
    flush_local(shadow, CPU0, what);
}

#[test]
fn a_frame_that_only_a_spared_cpu_has() {
    let mut shadow = on_two();
    shadow.leaf_changed(CPU0, FIRST.start, Some(FRAME));
    flush_and_spare(&mut shadow, ALL_FIRST);
    free_frame(&mut shadow).unwrap();
    shadow.settled(CPU0, ALL).unwrap();
    shadow.leaf_filled(CPU0, FIRST.start).unwrap();
    assert_eq!(shadow.take_released(), [FRAME]);
}

#[test]
fn a_table_that_a_spared_cpu_walks_through() {
    let mut shadow = on_two();
    shadow.table_detached(CPU0, FIRST.start, TABLE);
    shadow.leaf_changed(CPU0, FIRST.start, Some(FRAME));
    flush_and_spare(&mut shadow, FlushRange::Everything);
    free_frame(&mut shadow).unwrap();
    assert_eq!(held(free_table(&mut shadow)), (1, WALK));
}

#[test]
fn a_spared_cpu_comes_back() {
    let mut shadow = on_two();
    shadow.laziness_ended(CPU1).unwrap();
    shadow.leaf_changed(CPU0, FIRST.start, None);
    flush_and_spare(&mut shadow, ALL_FIRST);
    // Pages are not enough: it may owe others.
    flush_local(&mut shadow, CPU1, ALL_FIRST);
    let violation = shadow.laziness_ended(CPU1).unwrap_err();
    assert_eq!(violation.subject, Subject::Owed);
    assert_eq!(held(Err(violation)), (1, TRANSLATION));
    flush_local(&mut shadow, CPU1, FlushRange::Translations);
    shadow.laziness_ended(CPU1).unwrap();
}

/// Every flush of all translations pays, another CPU's too.
#[test]
fn a_broadcast_pays() {
    let mut shadow = on_two();
    shadow.leaf_changed(CPU0, FIRST.start, None);
    flush_and_spare(&mut shadow, ALL_FIRST);
    flush_global(&mut shadow, FlushRange::Everything);
    shadow.laziness_ended(CPU1).unwrap();
    // And so does a CPU that drops all that it has.
    shadow.leaf_changed(CPU0, FIRST.start, None);
    flush_and_spare(&mut shadow, ALL_FIRST);
    shadow.leave(CPU1);
    shadow.flush_cpu(CPU1);
    shadow.laziness_ended(CPU1).unwrap();
}

/// A CPU is spared what was changed before the flush, not what comes later.
#[test]
fn a_change_after_the_flush_began() {
    let mut shadow = on_two();
    let since = shadow.flush_begins();
    shadow.leaf_changed(CPU0, FIRST.start, Some(FRAME));
    shadow.spared(CPU0, CPU1, since);
    flush_local(&mut shadow, CPU0, ALL_FIRST);
    assert_eq!(held(free_frame(&mut shadow)), (1, TRANSLATION));
}

/// A flush that began before the change does not pay for it.
#[test]
fn a_payment_before_the_change() {
    let mut shadow = on_two();
    let began = shadow.flush_begins();
    shadow.leaf_changed(CPU0, FIRST.start, None);
    flush_and_spare(&mut shadow, ALL_FIRST);
    shadow.flush_local(CPU1, FlushRange::Translations, began);
    shadow.laziness_ended(CPU1).unwrap_err();
}

/// A CPU that has nothing of the PID, or has come back and flushed already, owes nothing.
#[test]
fn a_cpu_that_has_nothing_stale() {
    let mut shadow = live();
    shadow.load(CPU0, false).unwrap();
    shadow.leaf_changed(CPU0, FIRST.start, Some(FRAME));
    flush_and_spare(&mut shadow, ALL_FIRST);
    shadow.laziness_ended(CPU1).unwrap();

    let mut shadow = on_two();
    shadow.leaf_changed(CPU0, FIRST.start, None);
    let since = shadow.flush_begins();
    flush_local(&mut shadow, CPU1, FlushRange::Translations);
    shadow.spared(CPU0, CPU1, since);
    shadow.laziness_ended(CPU1).unwrap();
}
