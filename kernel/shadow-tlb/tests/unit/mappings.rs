//! Frames and tables: when they may be freed.

use kcore::mm::flush::FlushRange;

use crate::{
    ALL, ALL_FIRST, CPU0, CPU1, CPU2, FIRST, FRAME, PAGE, TABLE, TRANSLATION, WALK, flush_global,
    flush_local, free_frame, free_table, held, live, on_two, remove,
};

#[test]
fn a_frame_that_nobody_loaded_is_free() {
    let mut shadow = live();
    remove(&mut shadow);
    free_frame(&mut shadow).unwrap();
}

#[test]
fn a_frame_without_a_flush() {
    let mut shadow = on_two();
    remove(&mut shadow);
    assert_eq!(held(free_frame(&mut shadow)), (0, TRANSLATION));
}

#[test]
fn a_frame_after_a_broadcast() {
    for what in [ALL_FIRST, FlushRange::Translations, FlushRange::Everything] {
        let mut shadow = on_two();
        remove(&mut shadow);
        flush_global(&mut shadow, what);
        free_frame(&mut shadow).unwrap();
    }
}

#[test]
fn a_local_flush_does_not_reach_others() {
    let mut shadow = on_two();
    remove(&mut shadow);
    flush_local(&mut shadow, CPU0, FlushRange::Everything);
    assert_eq!(held(free_frame(&mut shadow)), (1, TRANSLATION));
    flush_local(&mut shadow, CPU1, ALL_FIRST);
    free_frame(&mut shadow).unwrap();
}

#[test]
fn a_flush_before_the_entry_was_cleared() {
    let mut shadow = on_two();
    flush_global(&mut shadow, FlushRange::Everything);
    remove(&mut shadow);
    assert_eq!(held(free_frame(&mut shadow)), (0, TRANSLATION));
}

#[test]
fn a_flush_counts_from_its_beginning() {
    let mut shadow = on_two();
    let began = shadow.flush_begins();
    remove(&mut shadow);
    shadow.flush_global(CPU0, FlushRange::Translations, began);
    assert_eq!(held(free_frame(&mut shadow)), (0, TRANSLATION));
    shadow.flush_global(CPU0, ALL_FIRST, began);
    assert_eq!(held(free_frame(&mut shadow)), (0, TRANSLATION));
}

#[test]
fn a_flush_of_other_pages() {
    let mut shadow = on_two();
    shadow.leaf_changed(CPU0, FIRST.end, None);
    remove(&mut shadow);
    flush_global(&mut shadow, FlushRange::Pages { start: FIRST.end, pages: 8 });
    assert_eq!(held(free_frame(&mut shadow)), (0, TRANSLATION));
    flush_global(&mut shadow, ALL_FIRST);
    free_frame(&mut shadow).unwrap();
}

/// Each of the two flushes of pages reaches one CPU, and neither reaches both.
#[test]
fn a_flush_of_some_pages_for_others() {
    let mut shadow = on_two();
    shadow.leaf_changed(CPU0, FIRST.end, Some(FRAME));
    flush_local(&mut shadow, CPU0, ALL_FIRST);
    flush_local(&mut shadow, CPU1, FlushRange::Pages { start: FIRST.end, pages: 1 });
    assert_eq!(held(free_frame(&mut shadow)), (0, TRANSLATION));
}

#[test]
fn a_tag_survives_a_write_of_pidr() {
    let mut shadow = live();
    shadow.load(CPU1, false).unwrap();
    shadow.leave(CPU1);
    remove(&mut shadow);
    assert_eq!(held(free_frame(&mut shadow)), (1, TRANSLATION));
    // The PID is not loaded there, but the flush counts.
    flush_local(&mut shadow, CPU1, FlushRange::Translations);
    free_frame(&mut shadow).unwrap();
}

#[test]
fn who_loads_later_sees_the_cleared_entry() {
    let mut shadow = live();
    remove(&mut shadow);
    shadow.load(CPU1, false).unwrap();
    free_frame(&mut shadow).unwrap();
}

#[test]
fn a_load_during_the_flush_is_refilled() {
    let mut shadow = on_two();
    let began = shadow.flush_begins();
    shadow.load(CPU2, false).unwrap();
    remove(&mut shadow);
    shadow.flush_global(CPU0, FlushRange::Everything, began);
    // CPUs 0 and 1 stayed on it, so they are refilled as well.
    assert_eq!(held(free_frame(&mut shadow)), (0, TRANSLATION));
    flush_local(&mut shadow, CPU0, ALL_FIRST);
    flush_local(&mut shadow, CPU1, ALL_FIRST);
    assert_eq!(held(free_frame(&mut shadow)), (2, TRANSLATION));
}

#[test]
fn a_departure_during_the_flush_is_refilled() {
    let mut shadow = live();
    shadow.load(CPU1, false).unwrap();
    let began = shadow.flush_begins();
    shadow.leave(CPU1);
    shadow.flush_global(CPU0, FlushRange::Everything, began);
    remove(&mut shadow);
    assert_eq!(held(free_frame(&mut shadow)), (1, TRANSLATION));
}

#[test]
fn a_cpu_that_left_and_was_flushed_holds_nothing() {
    let mut shadow = on_two();
    shadow.leave(CPU1);
    flush_local(&mut shadow, CPU1, FlushRange::Everything);
    remove(&mut shadow);
    flush_local(&mut shadow, CPU0, ALL_FIRST);
    free_frame(&mut shadow).unwrap();
}

#[test]
fn each_batch_needs_a_flush_of_its_own() {
    for what in [ALL_FIRST, FlushRange::Translations, FlushRange::Everything] {
        let mut shadow = on_two();
        for _ in 0..3 {
            remove(&mut shadow);
            flush_global(&mut shadow, what);
            free_frame(&mut shadow).unwrap();
        }
        remove(&mut shadow);
        assert_eq!(held(free_frame(&mut shadow)), (0, TRANSLATION));
    }
}

#[test]
fn tables_after_translations_only() {
    for what in [ALL_FIRST, FlushRange::Translations] {
        let mut shadow = on_two();
        remove(&mut shadow);
        flush_global(&mut shadow, what);
        free_frame(&mut shadow).unwrap();
        assert_eq!(held(free_table(&mut shadow)), (0, WALK));
    }
}

#[test]
fn tables_after_everything() {
    let mut shadow = on_two();
    remove(&mut shadow);
    flush_global(&mut shadow, FlushRange::Everything);
    free_table(&mut shadow).unwrap();
}

#[test]
fn tables_that_one_cpu_still_walks() {
    let mut shadow = on_two();
    remove(&mut shadow);
    flush_local(&mut shadow, CPU0, FlushRange::Everything);
    flush_local(&mut shadow, CPU1, FlushRange::Translations);
    assert_eq!(held(free_table(&mut shadow)), (1, WALK));
}

#[test]
fn a_stale_directory_refills_translations() {
    let mut shadow = live();
    shadow.load(CPU0, false).unwrap();
    shadow.clear_entry(CPU0);
    flush_local(&mut shadow, CPU0, FlushRange::Translations);
    // The cached entry and directories still lead to what is mapped.
    remove(&mut shadow);
    assert_eq!(held(free_frame(&mut shadow)), (0, TRANSLATION));
}

/// Emptied and filled with another frame before the flush: one CPU would store to the new
/// frame while another reads the old one.
#[test]
fn an_entry_that_is_filled_before_the_flush() {
    let mut shadow = on_two();
    shadow.leaf_changed(CPU0, FIRST.start, Some(FRAME));
    shadow.leaf_filled(CPU0, FIRST.end).unwrap();
    let violation = shadow.leaf_filled(CPU0, FIRST.start).unwrap_err();
    assert_eq!(
        violation.to_string(),
        "the entry of 0x10000 names another frame and CPU 0 may hold translations of before #4, not flushed since #2"
    );
    flush_global(&mut shadow, ALL_FIRST);
    shadow.leaf_filled(CPU0, FIRST.start).unwrap();
}

/// Nothing is freed, but programs count on it that the page cannot be written any more.
#[test]
fn a_permission_that_is_lost_without_a_flush() {
    let mut shadow = on_two();
    assert!(shadow.leaf_changed(CPU0, FIRST.start, None));
    assert_eq!(held(shadow.settled(CPU0, ALL)), (0, TRANSLATION));
    flush_local(&mut shadow, CPU0, ALL_FIRST);
    assert_eq!(held(shadow.settled(CPU0, ALL)), (1, TRANSLATION));
    flush_local(&mut shadow, CPU1, ALL_FIRST);
    shadow.settled(CPU0, ALL).unwrap();
}

#[test]
fn a_table_that_is_left_behind() {
    let mut shadow = on_two();
    shadow.table_detached(CPU0, FIRST.start, TABLE);
    flush_global(&mut shadow, FlushRange::Translations);
    assert_eq!(held(shadow.settled(CPU0, ALL)), (0, WALK));
    flush_global(&mut shadow, FlushRange::Everything);
    shadow.settled(CPU0, ALL).unwrap();
}

/// A frame that no holder can have: it is free at once, and not released a second time.
#[test]
fn what_nobody_holds_is_not_stale() {
    let mut shadow = live();
    assert!(!shadow.leaf_changed(CPU0, FIRST.start, Some(FRAME)));
    assert!(!shadow.table_detached(CPU0, FIRST.start, TABLE));
    shadow.load(CPU0, false).unwrap();
    flush_global(&mut shadow, FlushRange::Everything);
    assert_eq!(shadow.take_released(), []);
}

/// Each time that a frame becomes stale it is released once: with the flush that reaches
/// the last holder.
#[test]
fn the_last_flush_releases() {
    let mut shadow = on_two();
    assert!(shadow.leaf_changed(CPU0, FIRST.start, Some(FRAME)));
    assert!(shadow.leaf_changed(CPU0, FIRST.end + 7 * PAGE, Some(FRAME)));
    assert!(shadow.table_detached(CPU0, FIRST.start, TABLE));
    flush_local(&mut shadow, CPU1, FlushRange::Everything);
    assert_eq!(shadow.take_released(), []);
    flush_local(&mut shadow, CPU0, FlushRange::Translations);
    assert_eq!(shadow.take_released(), [FRAME, FRAME]);
    flush_local(&mut shadow, CPU0, FlushRange::Everything);
    assert_eq!(shadow.take_released(), [TABLE]);
}

/// A flush that had begun before the last change does not count for it.
#[test]
fn changes_behind_the_beginning_wait_for_the_next_flush() {
    let mut shadow = on_two();
    shadow.leaf_changed(CPU0, FIRST.start, Some(FRAME));
    let began = shadow.flush_begins();
    shadow.leaf_changed(CPU0, FIRST.end, Some(TABLE));
    shadow.flush_global(CPU0, FlushRange::Translations, began);
    assert_eq!(shadow.take_released(), [FRAME]);
    assert_eq!(held(shadow.settled(CPU0, ALL)), (0, TRANSLATION));
}
