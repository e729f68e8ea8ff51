//! A task is preempted in the middle of its exit, use_mm or exec, or migrates, and leaves
//! its borrow to the task that runs there next, while CPU 1 ends a borrow of its own, or
//! the mm.

use std::sync::atomic::{AtomicBool, Ordering};

use kcore::LazyTlb;
use kcore::lazy_tlb::Policy;
use kcore::machine::Point;
use kcore::mm::MmId;
use kcore::model::{Model, TaskId};

use crate::under_each_policy;
use crate::{CPU0, CPU1, CPU2, Rig};
use crate::{boot, boot_three, config, expect_dead_after_drain, explore, lazy_on, process, race, switch};

/// The points of an exit at which preemption is on.
const EXIT: [Point; 3] = [Point::ExitMmBorrowed, Point::MmputLast, Point::MmdropLast];

/// `task` does `what` when it comes to `point` for the first time.
fn at_once(rig: &Rig, task: TaskId, point: Point, what: impl Fn(&LazyTlb<Model>) + Send + Sync + 'static) {
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
fn exit_and(rig: &Rig, point: Point, away: impl Fn(&LazyTlb<Model>, TaskId) + Send + Sync + 'static) {
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

/// Another user runs in between: the owner comes back as a borrower of that user's mm.
fn exit_preempted(name: &str, policy: Policy) {
    for point in EXIT {
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
    for point in EXIT {
        explore(&format!("{name}, at {point:?}"), Some(3), move || {
            let rig = boot_three(config(policy));
            exit_and(&rig, point, |kernel, _| kernel.machine.migrate_current(CPU2));
        });
    }
}

/// What a kernel thread does that borrows an mm.
#[derive(Clone, Copy, PartialEq)]
enum Work {
    /// Uses what it borrows, with a unit of its users.
    Use,
    /// Enters a new one (T3).
    Exec,
}

impl Work {
    /// The points at which preemption is on.
    fn points(self) -> &'static [Point] {
        match self {
            Work::Use => &[Point::UseMmGrabbed, Point::UseMmSwitched, Point::UnuseMmBorrowed],
            Work::Exec => &[Point::ExecMmapSwitched],
        }
    }

    fn run(self, rig: &Rig, mm: MmId, new: MmId) {
        if self == Work::Exec {
            return rig.exec_mmap(new);
        }
        rig.kthread_use_mm(mm);
        assert!(rig.machine.access(0).is_some(), "we are a user of it");
        rig.kthread_unuse_mm(mm);
        rig.mmput(mm);
    }
}

/// `rig` has a kernel thread on CPU 0 do its `work` while the owner of what it borrows
/// exits on CPU 1, and may evict CPU 0; `away` says what happens in between.
fn work_and(
    rig: &Rig,
    work: Work,
    point: Point,
    away: impl Fn(&LazyTlb<Model>, TaskId) + Send + Sync + 'static,
) {
    let ((mm, owner), (new, _), worker) = (process(rig), process(rig), rig.machine.kernel_thread());
    lazy_on(rig, CPU0, mm);
    switch(rig, CPU0, worker);
    switch(rig, CPU1, owner);
    if work == Work::Use {
        rig.mmget(mm);
    }
    at_once(rig, worker, point, move |kernel| away(kernel, worker));
    race(rig, |rig| work.run(rig, mm, new), |rig| rig.exit_mm());
    expect_dead_after_drain(rig, mm);
}

/// Another user runs in between.
fn work_preempted(name: &str, policy: Policy, work: Work) {
    for &point in work.points() {
        explore(&format!("{name}, at {point:?}"), Some(3), move || {
            let rig = boot(config(policy));
            let (_, between) = process(&rig);
            work_and(&rig, work, point, move |kernel, worker| {
                kernel.machine.switch_to(between);
                kernel.machine.switch_to(worker);
            });
        });
    }
}

/// The rest happens on CPU 2.
fn work_migrated(name: &str, policy: Policy, work: Work) {
    for &point in work.points() {
        explore(&format!("{name}, at {point:?}"), Some(3), move || {
            let rig = boot_three(config(policy));
            work_and(&rig, work, point, |kernel, _| kernel.machine.migrate_current(CPU2));
        });
    }
}

under_each_policy! {
    preempted: exit_preempted;
    migrated: exit_migrated;
    use_preempted: |name, policy| work_preempted(name, policy, Work::Use);
    use_migrated: |name, policy| work_migrated(name, policy, Work::Use);
    exec_preempted: |name, policy| work_preempted(name, policy, Work::Exec);
    exec_migrated: |name, policy| work_migrated(name, policy, Work::Exec);
}
