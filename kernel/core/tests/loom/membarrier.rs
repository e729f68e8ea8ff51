//! membarrier(2) against everything that changes which mm a CPU runs: scenarios A to
//! E of Linux's `membarrier.c`, and those that registration adds.
//!
//! Two shapes. *Entering*: the caller stores x, issues the barrier and loads y; the
//! other CPU enters the mm, stores y and loads x, with nothing between them but
//! program order. They cannot both miss the other's store. *Leaving*: the other CPU
//! stores x, then y, and leaves the mm. A caller that saw y sees x after its barrier.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use kcore::lazy_tlb::Policy;
use kcore::machine::{Point, Probe};
use kcore::membarrier::Command;
use kcore::mm::MmId;
use kcore::model::TaskId;
use kcore::sync::{AtomicU64, Ordering};

use crate::{CPU0, CPU1, CPU2, Rig};
use crate::{boot, boot_three, config, explore, process, race, race_of_three, running, switch, thread};

/// What a missing barrier does shows with two preemptions on the way in, and with
/// three on the way out: one more is explored.
const BOUND: Option<usize> = Some(3);
const BOUND_LEAVING: Option<usize> = Some(4);

/// Variables of the user program, and what each side saw of the other.
#[derive(Default)]
struct Litmus {
    x: AtomicU64,
    y: AtomicU64,
    seen: AtomicU64,
}

fn store(variable: &AtomicU64) {
    variable.store(1, Ordering::Relaxed);
}

fn load(variable: &AtomicU64) -> bool {
    variable.load(Ordering::Relaxed) != 0
}

/// The caller's process, which runs on CPU 0, and a second thread of it.
struct Stage {
    mm: MmId,
    second: TaskId,
}

fn membarrier(rig: &Rig, command: Command) {
    rig.membarrier(command).expect("registered");
}

/// The process has registered for the private command if `registered`.
fn stage(policy: Policy, registered: bool) -> (Rig, Stage) {
    let rig = boot(config(policy));
    let mm = running(&rig);
    if registered {
        rig.machine.on(CPU0, || membarrier(&rig, Command::RegisterPrivateExpedited));
    }
    let second = thread(&rig, mm);
    (rig, Stage { mm, second })
}

/// CPU 1 runs `enter` and is then in user mode, where the caller's barrier must hold.
fn entering(rig: &Rig, caller: impl FnOnce(&Rig), enter: impl FnOnce(&Rig) + Send + 'static) {
    let litmus = Arc::new(Litmus::default());
    let theirs = litmus.clone();
    let seen_y = AtomicBool::new(false);
    race(
        rig,
        |rig| {
            store(&litmus.x);
            caller(rig);
            seen_y.store(load(&litmus.y), std::sync::atomic::Ordering::Relaxed);
        },
        move |rig| {
            enter(rig);
            store(&theirs.y);
            rig.machine.point(Point::SettleSwitch);
            if load(&theirs.x) {
                store(&theirs.seen);
            }
        },
    );
    let seen_y = seen_y.into_inner();
    assert!(seen_y || load(&litmus.seen), "both loads came before both stores");
}

/// CPU 1 is in user mode, then runs `leave`.
fn leaving(rig: &Rig, command: Command, leave: impl FnOnce(&Rig) + Send + 'static) {
    let litmus = Arc::new(Litmus::default());
    let theirs = litmus.clone();
    race(
        rig,
        |rig| {
            let seen_y = load(&litmus.y);
            membarrier(rig, command);
            assert!(!seen_y || load(&litmus.x), "a store was overtaken across the barrier");
        },
        move |rig| {
            store(&theirs.x);
            rig.machine.point(Point::SettleSwitch);
            store(&theirs.y);
            leave(rig);
        },
    );
}

fn private(rig: &Rig) {
    membarrier(rig, Command::PrivateExpedited);
}

/// Scenario A: the other thread runs all the time.
#[test]
fn running_after_the_ipi() {
    explore("membarrier A: running, after the IPI", BOUND, || {
        let (rig, stage) = stage(Policy::Shootdown, true);
        switch(&rig, CPU1, stage.second);
        entering(&rig, private, |_| {});
    });
}

/// Scenario B.
#[test]
fn running_before_the_ipi() {
    explore("membarrier B: running, before the IPI", BOUND_LEAVING, || {
        let (rig, stage) = stage(Policy::Shootdown, true);
        switch(&rig, CPU1, stage.second);
        leaving(&rig, Command::PrivateExpedited, |_| {});
    });
}

/// Scenario C, (a) and (e), T18: a lazy CPU goes back to the mm that it has loaded.
fn back_from_a_kernel_thread(name: &str, policy: Policy) {
    explore(name, BOUND, move || {
        let (rig, stage) = stage(policy, true);
        let second = stage.second;
        switch(&rig, CPU1, second);
        switch(&rig, CPU1, rig.machine.idle(CPU1));
        entering(&rig, private, move |rig| {
            rig.machine.switch_to(second);
        });
    });
}

#[test]
fn t18_user_to_kernel_to_same_user() {
    for policy in Policy::ALL {
        back_from_a_kernel_thread(&format!("membarrier C: back to user, {}", policy.name()), policy);
    }
}

/// Scenario C, (c) and (d).
#[test]
fn user_to_kernel() {
    explore("membarrier C: user to kernel", BOUND_LEAVING, || {
        let (rig, stage) = stage(Policy::Shootdown, true);
        switch(&rig, CPU1, stage.second);
        leaving(&rig, Command::PrivateExpedited, |rig| {
            rig.machine.switch_to(rig.machine.idle(CPU1));
        });
    });
}

/// From another process to a thread of ours, on a CPU that is in the mask already.
#[test]
fn from_another_user() {
    explore("membarrier: from another user", BOUND, || {
        let (rig, stage) = stage(Policy::Shootdown, true);
        let (second, other) = (stage.second, process(&rig).1);
        switch(&rig, CPU1, second);
        switch(&rig, CPU1, other);
        entering(&rig, private, move |rig| {
            rig.machine.switch_to(second);
        });
    });
}

#[test]
fn to_another_user() {
    explore("membarrier: to another user", BOUND_LEAVING, || {
        let (rig, stage) = stage(Policy::Shootdown, true);
        let other = process(&rig).1;
        switch(&rig, CPU1, stage.second);
        leaving(&rig, Command::PrivateExpedited, move |rig| {
            rig.machine.switch_to(other);
        });
    });
}

/// Scenario D.
#[test]
fn exit() {
    explore("membarrier D: exit", BOUND_LEAVING, || {
        let (rig, stage) = stage(Policy::Shootdown, true);
        switch(&rig, CPU1, stage.second);
        // A unit more, so that the caller is never alone.
        rig.mmget(stage.mm);
        leaving(&rig, Command::PrivateExpedited, |rig| rig.exit_mm());
    });
}

/// Scenario D, where the caller finds itself the only user.
#[test]
fn exit_of_the_only_other_user() {
    explore("membarrier D: exit of the only other user", BOUND_LEAVING, || {
        let (rig, stage) = stage(Policy::Shootdown, true);
        switch(&rig, CPU1, stage.second);
        leaving(&rig, Command::PrivateExpedited, |rig| rig.exit_mm());
    });
}

/// Scenario D, by exec: the thread shares the mm as after vfork.
#[test]
fn exec() {
    explore("membarrier D: exec", BOUND_LEAVING, || {
        let (rig, stage) = stage(Policy::Shootdown, true);
        switch(&rig, CPU1, stage.second);
        rig.mmget(stage.mm);
        let new = process(&rig).0;
        leaving(&rig, Command::PrivateExpedited, move |rig| rig.exec_mmap(new));
    });
}

/// Scenario E, (a) and (g): a kernel thread enters the mm that it borrows.
#[test]
fn use_mm() {
    explore("membarrier E: kthread_use_mm", BOUND, || {
        let (rig, stage) = stage(Policy::Shootdown, true);
        switch(&rig, CPU1, stage.second);
        switch(&rig, CPU1, rig.machine.idle(CPU1));
        entering(&rig, private, move |rig| rig.kthread_use_mm(stage.mm));
    });
}

/// Scenario E, where the caller may still find itself the only user.
#[test]
fn use_mm_of_a_single_user() {
    explore("membarrier E: kthread_use_mm of a single user", BOUND, || {
        let (rig, Stage { mm, second }) = stage(Policy::Shootdown, true);
        switch(&rig, CPU1, second);
        rig.machine.on(CPU1, || rig.exit_mm());
        entering(&rig, private, move |rig| {
            rig.mmget(mm);
            rig.kthread_use_mm(mm);
        });
    });
}

/// Scenario E, (c) and (d).
#[test]
fn unuse_mm() {
    explore("membarrier E: kthread_unuse_mm", BOUND_LEAVING, || {
        let (rig, stage) = stage(Policy::Shootdown, true);
        rig.machine.on(CPU1, || rig.kthread_use_mm(stage.mm));
        leaving(&rig, Command::PrivateExpedited, move |rig| rig.kthread_unuse_mm(stage.mm));
    });
}

/// A switch to the mm that began before the registration ends after it.
#[test]
fn registration_against_a_switch() {
    explore("membarrier: registration against a switch", BOUND, || {
        let (rig, stage) = stage(Policy::Shootdown, false);
        let (second, other) = (stage.second, process(&rig).1);
        switch(&rig, CPU1, second);
        switch(&rig, CPU1, other);
        let caller = |rig: &Rig| {
            membarrier(rig, Command::RegisterPrivateExpedited);
            private(rig);
        };
        entering(&rig, caller, move |rig| {
            rig.machine.switch_to(second);
        });
    });
}

/// A process registers for the barriers of others, and counts on them at once.
fn registers_for_global(name: &str, threads: bool) {
    explore(name, BOUND, move || {
        let (rig, _) = stage(Policy::Shootdown, false);
        let (mm, other) = process(&rig);
        if threads {
            rig.mmget(mm);
        }
        switch(&rig, CPU1, other);
        let caller = |rig: &Rig| membarrier(rig, Command::GlobalExpedited);
        entering(&rig, caller, |rig| membarrier(rig, Command::RegisterGlobalExpedited));
    });
}

#[test]
fn registration_for_global() {
    registers_for_global("membarrier: registration for global", false);
    registers_for_global("membarrier: registration for global, threads", true);
}

/// GLOBAL_EXPEDITED by a process that is not registered, on one that is and comes
/// from a kernel thread.
#[test]
fn global_expedited() {
    explore("membarrier: global expedited", BOUND, || {
        let (rig, _) = stage(Policy::Shootdown, false);
        let (_, other) = process(&rig);
        switch(&rig, CPU1, other);
        rig.machine.on(CPU1, || membarrier(&rig, Command::RegisterGlobalExpedited));
        switch(&rig, CPU1, rig.machine.idle(CPU1));
        let caller = |rig: &Rig| membarrier(rig, Command::GlobalExpedited);
        entering(&rig, caller, move |rig| {
            rig.machine.switch_to(other);
        });
    });
}

/// GLOBAL: no process has registered for anything.
#[test]
fn global() {
    explore("membarrier: global", BOUND, || {
        let (rig, _) = stage(Policy::Shootdown, false);
        let ((mm, first), (_, other)) = (process(&rig), process(&rig));
        let second = thread(&rig, mm);
        switch(&rig, CPU1, second);
        switch(&rig, CPU1, other);
        let caller = |rig: &Rig| membarrier(rig, Command::Global);
        entering(&rig, caller, move |rig| {
            rig.machine.switch_to(first);
        });
    });
}

/// Two threads that are both interrupted between their store and their load: each
/// interrupt was a full barrier, for the other thread too.
#[test]
fn two_targets() {
    explore("membarrier: two targets", Some(2), || {
        let rig = boot_three(config(Policy::Shootdown));
        let mm = running(&rig);
        rig.machine.on(CPU0, || membarrier(&rig, Command::RegisterPrivateExpedited));
        for cpu in [CPU1, CPU2] {
            let task = thread(&rig, mm);
            switch(&rig, cpu, task);
        }
        let litmus = Arc::new(Litmus::default());
        let missed = Arc::new([const { AtomicBool::new(false) }; 2]);
        // Stores `mine`, is interrupted, loads `theirs`.
        let target = |cpu, which: usize| {
            let (litmus, missed) = (litmus.clone(), missed.clone());
            move |rig: &Rig| {
                let (mine, theirs) = if which == 0 { (&litmus.x, &litmus.y) } else { (&litmus.y, &litmus.x) };
                let received = || rig.cpu(cpu).counters.ipi_received.get();
                let before = received();
                store(mine);
                rig.machine.point(Point::SettleSwitch);
                let interrupted = received() != before;
                let seen = load(theirs);
                missed[which].store(interrupted && !seen, std::sync::atomic::Ordering::Relaxed);
            }
        };
        race_of_three(&rig, private, target(CPU1, 0), target(CPU2, 1));
        let [first, second] = [0, 1].map(|i| missed[i].load(std::sync::atomic::Ordering::Relaxed));
        assert!(!(first && second), "both loads came before both stores, over an interrupt each");
    });
}
