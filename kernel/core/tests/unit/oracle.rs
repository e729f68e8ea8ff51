//! The rules of the shadow TLB oracle, against sequences written by hand: right
//! ones, which it must let pass, and wrong ones, which it must not.

use kcore::machine::Stamp;
use kcore::mm::flush::FlushRange;
use kcore::oracle::{Event, Holder, Kind, Shadow, Slot, Subject, Violation};

use crate::{CPU0, CPU1, CPU2};

const PAGE: u64 = 0x1000;
const FIRST: core::ops::Range<u64> = 0x1_0000..0x1_1000;
const ALL_FIRST: FlushRange = FlushRange::Pages { start: FIRST.start, pages: 1 };

/// A PID whose process-table entry is set, on three CPUs.
fn live() -> Shadow {
    let mut shadow = Shadow::new(3, 0);
    shadow.set_entry(CPU0).unwrap();
    shadow
}

/// The same, loaded on CPUs 0 and 1.
fn on_two() -> Shadow {
    let mut shadow = live();
    shadow.load(CPU0, false).unwrap();
    shadow.load(CPU1, false).unwrap();
    shadow
}

fn flush_local(shadow: &mut Shadow, cpu: kcore::cpu::CpuId, what: FlushRange) {
    let began = shadow.now();
    shadow.flush_local(cpu, what, began);
}

fn flush_global(shadow: &mut Shadow, what: FlushRange) {
    let began = shadow.now();
    shadow.flush_global(CPU0, what, began);
}

/// Who holds something, and what: the number of a CPU, or [`COPRO`].
fn held(result: Result<(), Violation>) -> (usize, Option<Kind>) {
    let violation = result.expect_err("the oracle should have cried");
    match violation.holder {
        Holder::Cpu(cpu) => (cpu.index(), violation.held),
        Holder::Coprocessor => (COPRO, violation.held),
    }
}

const COPRO: usize = usize::MAX;

const TRANSLATION: Option<Kind> = Some(Kind::Translation);
const WALK: Option<Kind> = Some(Kind::Walk);
const ENTRY: Option<Kind> = Some(Kind::Entry);

// --- frames -----------------------------------------------------------------------------

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

// --- tables -----------------------------------------------------------------------------

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

// --- the end of a PID ---------------------------------------------------------------------

#[test]
fn a_whole_life() {
    let mut shadow = on_two();
    shadow.clear_entry(CPU0);
    flush_global(&mut shadow, FlushRange::Everything);
    // Lazy CPUs keep the PID loaded, and find nothing.
    let removed = shadow.now();
    shadow.free_frames(CPU0, FIRST, removed).unwrap();
    shadow.free_tables(CPU0, removed).unwrap();
    shadow.leave(CPU0);
    shadow.leave(CPU1);
    shadow.free_pid(CPU0).unwrap();
    shadow.set_entry(CPU2).unwrap();
    shadow.load(CPU2, false).unwrap();
    let removed = shadow.now();
    assert_eq!(held(shadow.free_frames(CPU0, FIRST, removed)), (2, TRANSLATION));
}

#[test]
fn a_pid_without_a_flush() {
    let mut shadow = live();
    shadow.load(CPU2, false).unwrap();
    shadow.leave(CPU2);
    shadow.clear_entry(CPU0);
    assert_eq!(held(shadow.free_pid(CPU0)), (2, ENTRY));
}

#[test]
fn a_pid_after_translations_only() {
    let mut shadow = live();
    shadow.load(CPU1, false).unwrap();
    shadow.leave(CPU1);
    shadow.clear_entry(CPU0);
    flush_global(&mut shadow, FlushRange::Translations);
    assert_eq!(held(shadow.free_pid(CPU0)), (1, ENTRY));
}

#[test]
fn a_pid_that_is_loaded() {
    let mut shadow = on_two();
    shadow.clear_entry(CPU0);
    flush_global(&mut shadow, FlushRange::Everything);
    shadow.leave(CPU0);
    assert_eq!(held(shadow.free_pid(CPU0)), (1, None));
}

#[test]
fn an_entry_that_is_cleared_after_the_flush() {
    let mut shadow = on_two();
    flush_global(&mut shadow, FlushRange::Everything);
    shadow.clear_entry(CPU0);
    let removed = shadow.now();
    assert_eq!(held(shadow.free_frames(CPU0, FIRST, removed)), (0, TRANSLATION));
    shadow.leave(CPU0);
    shadow.leave(CPU1);
    assert_eq!(held(shadow.free_pid(CPU0)), (0, ENTRY));
}

#[test]
fn an_entry_that_is_cleared_during_the_flush() {
    let mut shadow = live();
    shadow.load(CPU0, false).unwrap();
    let began = shadow.now();
    shadow.clear_entry(CPU0);
    shadow.flush_local(CPU0, FlushRange::Everything, began);
    shadow.leave(CPU0);
    assert_eq!(held(shadow.free_pid(CPU0)), (0, ENTRY));
}

#[test]
fn a_load_of_a_dead_tree_finds_nothing() {
    let mut shadow = on_two();
    shadow.clear_entry(CPU0);
    flush_global(&mut shadow, FlushRange::Everything);
    shadow.load(CPU2, false).unwrap();
    let removed = shadow.now();
    shadow.free_tables(CPU0, removed).unwrap();
    for cpu in [CPU0, CPU1, CPU2] {
        shadow.leave(cpu);
    }
    shadow.free_pid(CPU0).unwrap();
}

#[test]
fn a_pid_that_is_handed_out_while_it_is_loaded() {
    let mut shadow = Shadow::new(3, 0);
    shadow.load(CPU1, false).unwrap();
    let violation = shadow.set_entry(CPU0).unwrap_err();
    assert_eq!((violation.holder, violation.subject), (Holder::Cpu(CPU1), Subject::Pid));
}

// --- a PID from mm to mm ------------------------------------------------------------------

/// A PID that is handed out, on three CPUs.
fn handed_out() -> Slot {
    let mut slot = Slot::default();
    slot.set_entry(CPU0, 3).unwrap();
    slot
}

#[test]
fn a_free_pid_remembers_nothing() {
    let mut slot = handed_out();
    slot.load(CPU1, false).unwrap();
    let shadow = slot.shadow().unwrap();
    shadow.clear_entry(CPU0);
    shadow.leave(CPU1);
    flush_global(shadow, FlushRange::Everything);
    slot.free(CPU0).unwrap();
    assert!(slot.shadow().is_none());
    slot.set_entry(CPU0, 3).unwrap();
    assert_eq!(slot.shadow().unwrap().history().count(), 1);
}

#[test]
fn a_pid_that_is_freed_too_soon() {
    let mut slot = handed_out();
    slot.load(CPU1, false).unwrap();
    assert_eq!(held(slot.free(CPU0)), (1, ENTRY));
    assert!(slot.shadow().unwrap().history().count() > 0, "the history of the culprit is gone");
}

#[test]
fn a_pid_that_is_handed_out_twice() {
    let mut slot = handed_out();
    slot.load(CPU1, false).unwrap();
    assert_eq!(held(slot.set_entry(CPU0, 3)), (1, ENTRY));
}

#[test]
fn a_load_of_a_free_pid() {
    let violation = Slot::default().load(CPU1, false).unwrap_err();
    assert_eq!(violation.to_string(), "CPU 1 loads the PID, which no address space has");
    assert_eq!(violation.subject, Subject::NoMm);
}

/// A flush that began under the mm before covers nothing of this one.
#[test]
fn a_flush_from_another_life() {
    let mut slot = handed_out();
    let began = {
        let shadow = slot.shadow().unwrap();
        (0..100).for_each(|_| _ = shadow.now());
        shadow.now()
    };
    slot.free(CPU0).unwrap();
    slot.set_entry(CPU0, 3).unwrap();
    slot.load(CPU1, false).unwrap();
    let shadow = slot.shadow().unwrap();
    let removed = shadow.now();
    for what in [ALL_FIRST, FlushRange::Everything] {
        shadow.flush_local(CPU1, what, began);
        assert_eq!(held(shadow.free_frames(CPU0, FIRST, removed)), (1, TRANSLATION));
    }
}

// --- a CPU that stops and starts ------------------------------------------------------------

#[test]
fn a_cpu_that_drops_everything_before_it_stops() {
    let mut shadow = on_two();
    shadow.leave(CPU1);
    shadow.flush_cpu(CPU1);
    let removed = shadow.now();
    flush_local(&mut shadow, CPU0, FlushRange::Everything);
    shadow.free_frames(CPU0, FIRST, removed).unwrap();
    shadow.free_tables(CPU0, removed).unwrap();
    shadow.leave(CPU0);
    shadow.clear_entry(CPU0);
    flush_local(&mut shadow, CPU0, FlushRange::Everything);
    shadow.free_pid(CPU0).unwrap();
}

/// Whoever frees skips it: it is in no mask any more.
#[test]
fn a_cpu_that_stops_without_a_flush() {
    let mut shadow = on_two();
    shadow.leave(CPU1);
    let removed = shadow.now();
    flush_local(&mut shadow, CPU0, FlushRange::Everything);
    assert_eq!(held(shadow.free_frames(CPU0, FIRST, removed)), (1, TRANSLATION));
    assert_eq!(held(shadow.free_tables(CPU0, removed)), (1, WALK));
    shadow.leave(CPU0);
    shadow.clear_entry(CPU0);
    flush_local(&mut shadow, CPU0, FlushRange::Everything);
    assert_eq!(held(shadow.free_pid(CPU0)), (1, ENTRY));
}

#[test]
fn a_cpu_that_stops_with_the_pid_loaded() {
    let mut shadow = on_two();
    shadow.flush_cpu(CPU1);
    let removed = shadow.now();
    flush_local(&mut shadow, CPU0, FlushRange::Everything);
    assert_eq!(held(shadow.free_tables(CPU0, removed)), (1, WALK));
}

/// What it held before was told to be gone, and its first load finds nothing old.
#[test]
fn a_cpu_that_starts_with_a_flush() {
    let mut shadow = on_two();
    shadow.leave(CPU1);
    shadow.flush_cpu(CPU1);
    let removed = shadow.now();
    flush_local(&mut shadow, CPU0, FlushRange::Everything);
    shadow.flush_cpu(CPU1);
    shadow.load(CPU1, false).unwrap();
    shadow.free_frames(CPU0, FIRST, removed).unwrap();
    // From here on it is as any other.
    let removed = shadow.now();
    flush_local(&mut shadow, CPU0, FlushRange::Everything);
    assert_eq!(held(shadow.free_frames(CPU0, FIRST, removed)), (1, TRANSLATION));
}

#[test]
fn a_cpu_that_starts_without_a_flush() {
    let mut shadow = live();
    let violation = shadow.load(CPU1, true).unwrap_err();
    assert_eq!((violation.holder, &violation.subject), (Holder::Cpu(CPU1), &Subject::Start));
    assert_eq!(violation.to_string(), "CPU 1 loads the PID with what its TLB held when it started");
}

// --- coprocessors -------------------------------------------------------------------------

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
        let removed = shadow.now();
        assert_eq!(held(shadow.free_frames(CPU0, FIRST, removed)), (COPRO, TRANSLATION));
        flush_global(&mut shadow, what);
        shadow.free_frames(CPU0, FIRST, removed).unwrap();
    }
}

/// Neither `tlbiel`, here or in a cross-call, nor the flush of a CPU that stops.
#[test]
fn a_coprocessor_hears_nothing_else() {
    let mut shadow = on_coprocessor();
    shadow.load(CPU1, false).unwrap();
    let removed = shadow.now();
    for cpu in [CPU0, CPU1, CPU2] {
        flush_local(&mut shadow, cpu, FlushRange::Everything);
    }
    shadow.leave(CPU1);
    shadow.flush_cpu(CPU1);
    assert_eq!(held(shadow.free_frames(CPU0, FIRST, removed)), (COPRO, TRANSLATION));
    let violation = shadow.free_tables(CPU0, removed).unwrap_err();
    assert_eq!(
        violation.to_string(),
        "page tables are freed and a coprocessor may hold walk-cache entries of before #4, not flushed since #2"
    );
}

#[test]
fn a_coprocessor_keeps_what_it_has() {
    let mut shadow = on_coprocessor();
    shadow.copro_leave(CPU0);
    let removed = shadow.now();
    flush_local(&mut shadow, CPU0, FlushRange::Everything);
    assert_eq!(held(shadow.free_frames(CPU0, FIRST, removed)), (COPRO, TRANSLATION));
    shadow.clear_entry(CPU0);
    assert_eq!(held(shadow.free_pid(CPU0)), (COPRO, ENTRY));
}

#[test]
fn a_coprocessor_that_leaves_before_its_last_broadcast() {
    let mut shadow = on_coprocessor();
    shadow.copro_leave(CPU0);
    flush_global(&mut shadow, FlushRange::Everything);
    // From here on flushes are local again.
    let removed = shadow.now();
    flush_local(&mut shadow, CPU0, FlushRange::Everything);
    shadow.free_frames(CPU0, FIRST, removed).unwrap();
    shadow.free_tables(CPU0, removed).unwrap();
    shadow.clear_entry(CPU0);
    shadow.free_pid(CPU0).unwrap();
}

#[test]
fn a_coprocessor_that_leaves_after_its_last_broadcast() {
    let mut shadow = on_coprocessor();
    flush_global(&mut shadow, FlushRange::Everything);
    shadow.copro_leave(CPU0);
    let removed = shadow.now();
    assert_eq!(held(shadow.free_frames(CPU0, FIRST, removed)), (COPRO, TRANSLATION));
}

#[test]
fn one_coprocessor_of_two_leaves() {
    let mut shadow = on_coprocessor();
    shadow.copro_load(CPU0);
    shadow.copro_leave(CPU0);
    flush_global(&mut shadow, FlushRange::Everything);
    let removed = shadow.now();
    assert_eq!(held(shadow.free_frames(CPU0, FIRST, removed)), (COPRO, TRANSLATION));
}

#[test]
fn a_pid_that_a_coprocessor_has() {
    let mut shadow = on_coprocessor();
    shadow.clear_entry(CPU0);
    flush_global(&mut shadow, FlushRange::Everything);
    assert_eq!(held(shadow.free_pid(CPU0)), (COPRO, None));
}

// --- what it says -------------------------------------------------------------------------

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
