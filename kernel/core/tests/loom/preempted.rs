//! The exiting task is preempted in the middle of its exit, or migrates, and leaves
//! its borrow to who runs there next, while CPU 1 ends a borrow of its own.

use std::sync::atomic::{AtomicBool, Ordering};

use kcore::Kernel;
use kcore::lazy_tlb::Policy;
use kcore::machine::Point;
use kcore::model::{Model, TaskId};

use crate::under_each_policy;
use crate::{CPU0, CPU1, CPU2, Rig};
use crate::{boot, boot_three, config, expect_dead_after_drain, explore, lazy_on, process, race, switch};

/// The points of an exit at which preemption is on.
const POINTS: [Point; 3] = [Point::ExitMmBorrowed, Point::MmputLast, Point::MmdropLast];

/// `task` does `what` when it comes to `point` for the first time.
fn at_once(rig: &Rig, task: TaskId, point: Point, what: impl Fn(&Kernel<Model>) + Send + Sync + 'static) {
    let done = AtomicBool::new(false);
    rig.machine.set_hook(move |kernel, at| {
        let there = at == point && kernel.machine.current_task() == task;
        if there && !done.swap(true, Ordering::Relaxed) {
            what(kernel);
        }
    });
}

/// `rig` has the owner of an mm run on CPU 0, and exit, while CPU 1, which is lazy on
/// that mm, switches to another user; `away` says what happens in between.
fn exit_and(rig: &Rig, point: Point, away: impl Fn(&Kernel<Model>, TaskId) + Send + Sync + 'static) {
    let ((mm, owner), (_, other)) = (process(rig), process(rig));
    lazy_on(rig, CPU1, mm);
    switch(rig, CPU0, owner);
    at_once(rig, owner, point, move |kernel| away(kernel, owner));
    race(
        rig,
        |rig| rig.exit_mm(),
        move |rig| {
            rig.machine.switch_to(other);
        },
    );
    expect_dead_after_drain(rig, mm);
}

/// Another user runs in between: the owner is back as the borrower of that one's mm.
fn exit_preempted(name: &str, policy: Policy) {
    for point in POINTS {
        explore(&format!("{name}, at {point:?}"), Some(3), move || {
            let rig = boot(config(policy));
            let (_, between) = process(&rig);
            exit_and(&rig, point, move |kernel, owner| {
                kernel.machine.switch_to(between);
                kernel.machine.switch_to(owner);
            });
        });
    }
}

/// The rest of the exit happens on CPU 2; the idle task of CPU 0 has the borrow (T14).
fn exit_migrated(name: &str, policy: Policy) {
    for point in POINTS {
        explore(&format!("{name}, at {point:?}"), Some(3), move || {
            let rig = boot_three(config(policy));
            exit_and(&rig, point, |kernel, _| kernel.machine.migrate_current(CPU2));
        });
    }
}

under_each_policy! {
    preempted: exit_preempted;
    migrated: exit_migrated;
}
