//! PIDs: when they may be freed, and handed out again.

use kcore::mm::flush::FlushRange;
use shadow_tlb::{Holder, Shadow, Slot, Subject};

use crate::{
    ALL_FIRST, CPU0, CPU1, CPU2, ENTRY, TRANSLATION, flush_global, free_frame, free_table, held, live,
    on_two, remove,
};

#[test]
fn a_whole_life() {
    let mut shadow = on_two();
    shadow.clear_entry(CPU0);
    flush_global(&mut shadow, FlushRange::Everything);
    // Lazy CPUs keep the PID loaded, and find nothing.
    remove(&mut shadow);
    free_frame(&mut shadow).unwrap();
    free_table(&mut shadow).unwrap();
    shadow.leave(CPU0);
    shadow.leave(CPU1);
    shadow.free_pid(CPU0).unwrap();
    shadow.set_entry(CPU2).unwrap();
    shadow.load(CPU2, false).unwrap();
    remove(&mut shadow);
    assert_eq!(held(free_frame(&mut shadow)), (2, TRANSLATION));
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
    remove(&mut shadow);
    assert_eq!(held(free_frame(&mut shadow)), (0, TRANSLATION));
    shadow.leave(CPU0);
    shadow.leave(CPU1);
    assert_eq!(held(shadow.free_pid(CPU0)), (0, ENTRY));
}

#[test]
fn an_entry_that_is_cleared_during_the_flush() {
    let mut shadow = live();
    shadow.load(CPU0, false).unwrap();
    let began = shadow.flush_begins();
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
    remove(&mut shadow);
    free_table(&mut shadow).unwrap();
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

/// A flush that began under the PID's previous mm covers nothing of this one.
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
    remove(shadow);
    for what in [ALL_FIRST, FlushRange::Everything] {
        shadow.flush_local(CPU1, what, began);
        assert_eq!(held(free_frame(shadow)), (1, TRANSLATION));
    }
}
