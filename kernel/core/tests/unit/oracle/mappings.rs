//! Frames and tables: when they may be freed.

use kcore::mm::flush::FlushRange;

use super::{ALL_FIRST, FIRST, PAGE, TRANSLATION, WALK, flush_global, flush_local, held, live, on_two};
use crate::{CPU0, CPU1, CPU2};

#[test]
fn a_frame_that_nobody_loaded_is_free() {
    let mut shadow = live();
    let removed = shadow.now();
    shadow.free_frames(CPU0, FIRST, removed).unwrap();
}

#[test]
fn a_frame_without_a_flush() {
    let mut shadow = on_two();
    let removed = shadow.now();
    assert_eq!(held(shadow.free_frames(CPU0, FIRST, removed)), (0, TRANSLATION));
}

#[test]
fn a_frame_after_a_broadcast() {
    for what in [ALL_FIRST, FlushRange::Translations, FlushRange::Everything] {
        let mut shadow = on_two();
        let removed = shadow.now();
        flush_global(&mut shadow, what);
        shadow.free_frames(CPU0, FIRST, removed).unwrap();
    }
}

#[test]
fn a_local_flush_does_not_reach_others() {
    let mut shadow = on_two();
    let removed = shadow.now();
    flush_local(&mut shadow, CPU0, FlushRange::Everything);
    assert_eq!(held(shadow.free_frames(CPU0, FIRST, removed)), (1, TRANSLATION));
    flush_local(&mut shadow, CPU1, ALL_FIRST);
    shadow.free_frames(CPU0, FIRST, removed).unwrap();
}

#[test]
fn a_flush_before_the_entry_was_cleared() {
    let mut shadow = on_two();
    flush_global(&mut shadow, FlushRange::Everything);
    let removed = shadow.now();
    assert_eq!(held(shadow.free_frames(CPU0, FIRST, removed)), (0, TRANSLATION));
}

#[test]
fn a_flush_counts_from_its_beginning() {
    let mut shadow = on_two();
    let began = shadow.now();
    let removed = shadow.now();
    shadow.flush_global(CPU0, FlushRange::Translations, began);
    assert_eq!(held(shadow.free_frames(CPU0, FIRST, removed)), (0, TRANSLATION));
    shadow.flush_global(CPU0, ALL_FIRST, began);
    assert_eq!(held(shadow.free_frames(CPU0, FIRST, removed)), (0, TRANSLATION));
}

#[test]
fn a_flush_of_other_pages() {
    let mut shadow = on_two();
    let removed = shadow.now();
    flush_global(&mut shadow, FlushRange::Pages { start: FIRST.end, pages: 8 });
    assert_eq!(held(shadow.free_frames(CPU0, FIRST, removed)), (0, TRANSLATION));
    let two = FIRST.start..FIRST.end + PAGE;
    flush_global(&mut shadow, ALL_FIRST);
    assert_eq!(held(shadow.free_frames(CPU0, two.clone(), removed)), (0, TRANSLATION));
    flush_global(&mut shadow, FlushRange::Pages { start: FIRST.start, pages: 2 });
    shadow.free_frames(CPU0, two, removed).unwrap();
}

/// One range is remembered; who was not reached by the flush of it does not count
/// because it was by the one before.
#[test]
fn a_flush_of_some_pages_for_others() {
    let mut shadow = on_two();
    let removed = shadow.now();
    flush_local(&mut shadow, CPU0, ALL_FIRST);
    flush_local(&mut shadow, CPU1, FlushRange::Pages { start: FIRST.end, pages: 1 });
    let second = FIRST.end..FIRST.end + PAGE;
    assert_eq!(held(shadow.free_frames(CPU0, second, removed)), (0, TRANSLATION));
}

#[test]
fn a_tag_survives_a_write_of_pidr() {
    let mut shadow = live();
    shadow.load(CPU1, false).unwrap();
    shadow.leave(CPU1);
    let removed = shadow.now();
    assert_eq!(held(shadow.free_frames(CPU0, FIRST, removed)), (1, TRANSLATION));
    // It is not loaded there, but flushed all the same.
    flush_local(&mut shadow, CPU1, FlushRange::Translations);
    shadow.free_frames(CPU0, FIRST, removed).unwrap();
}

#[test]
fn who_loads_later_sees_the_cleared_entry() {
    let mut shadow = live();
    let removed = shadow.now();
    shadow.load(CPU1, false).unwrap();
    shadow.free_frames(CPU0, FIRST, removed).unwrap();
}

#[test]
fn a_load_during_the_flush_is_refilled() {
    let mut shadow = on_two();
    let began = shadow.now();
    shadow.load(CPU2, false).unwrap();
    let removed = shadow.now();
    shadow.flush_global(CPU0, FlushRange::Everything, began);
    // CPUs 0 and 1 stayed on it, so they are refilled as well.
    assert_eq!(held(shadow.free_frames(CPU0, FIRST, removed)), (0, TRANSLATION));
    flush_local(&mut shadow, CPU0, ALL_FIRST);
    flush_local(&mut shadow, CPU1, ALL_FIRST);
    assert_eq!(held(shadow.free_frames(CPU0, FIRST, removed)), (2, TRANSLATION));
}

#[test]
fn a_departure_during_the_flush_is_refilled() {
    let mut shadow = live();
    shadow.load(CPU1, false).unwrap();
    let began = shadow.now();
    shadow.leave(CPU1);
    shadow.flush_global(CPU0, FlushRange::Everything, began);
    let removed = shadow.now();
    assert_eq!(held(shadow.free_frames(CPU0, FIRST, removed)), (1, TRANSLATION));
}

#[test]
fn a_cpu_that_left_and_was_flushed_holds_nothing() {
    let mut shadow = on_two();
    shadow.leave(CPU1);
    flush_local(&mut shadow, CPU1, FlushRange::Everything);
    let removed = shadow.now();
    flush_local(&mut shadow, CPU0, ALL_FIRST);
    shadow.free_frames(CPU0, FIRST, removed).unwrap();
}

#[test]
fn each_batch_needs_a_flush_of_its_own() {
    for what in [ALL_FIRST, FlushRange::Translations, FlushRange::Everything] {
        let mut shadow = on_two();
        for _ in 0..3 {
            let removed = shadow.now();
            flush_global(&mut shadow, what);
            shadow.free_frames(CPU0, FIRST, removed).unwrap();
        }
        let removed = shadow.now();
        assert_eq!(held(shadow.free_frames(CPU0, FIRST, removed)), (0, TRANSLATION));
    }
}

#[test]
fn tables_after_translations_only() {
    for what in [ALL_FIRST, FlushRange::Translations] {
        let mut shadow = on_two();
        let removed = shadow.now();
        flush_global(&mut shadow, what);
        shadow.free_frames(CPU0, FIRST, removed).unwrap();
        assert_eq!(held(shadow.free_tables(CPU0, removed)), (0, WALK));
    }
}

#[test]
fn tables_after_everything() {
    let mut shadow = on_two();
    let removed = shadow.now();
    flush_global(&mut shadow, FlushRange::Everything);
    shadow.free_tables(CPU0, removed).unwrap();
}

#[test]
fn tables_that_one_cpu_still_walks() {
    let mut shadow = on_two();
    let removed = shadow.now();
    flush_local(&mut shadow, CPU0, FlushRange::Everything);
    flush_local(&mut shadow, CPU1, FlushRange::Translations);
    assert_eq!(held(shadow.free_tables(CPU0, removed)), (1, WALK));
}

#[test]
fn a_stale_directory_refills_translations() {
    let mut shadow = live();
    shadow.load(CPU0, false).unwrap();
    shadow.clear_entry(CPU0);
    flush_local(&mut shadow, CPU0, FlushRange::Translations);
    // The cached entry and directories still lead to what is mapped.
    let removed = shadow.now();
    assert_eq!(held(shadow.free_frames(CPU0, FIRST, removed)), (0, TRANSLATION));
}
