//! The exit race: CPU 1 is lazy on an mm while its owner on CPU 0 exits and frees it. CPU
//! 1 never has a freed mm loaded, in any order.

use kcore::Config;
use kcore::lazy_tlb::Policy;
use kcore::ledger::Ledger;
use kcore::machine::{Cpu, Point, Probe};

use crate::under_each_policy;
use crate::{
    CPU0, CPU1, Contents, Rig, Stage, boot, bound_of, config, expect_dead_after_drain, explore, process,
    race, running, stage, switch,
};

/// Like `stage`, but `second` is gone: the owner on CPU 0 is the last user.
fn last_owner(policy: Policy) -> (Rig, Stage) {
    last_owner_of(config(policy))
}

fn last_owner_of(config: Config) -> (Rig, Stage) {
    let (rig, stage) = stage(config, true);
    rig.mmput(stage.mm);
    (rig, stage)
}

fn exit(rig: &Rig) {
    rig.exit_mm();
    rig.machine.switch_to(rig.machine.idle(CPU0));
}

fn to_another_user(name: &str, policy: Policy) {
    to_another(name, config(policy));
}

/// With the filter, where the exit's eviction is the last that looks for borrowers.
#[test]
fn exit_filtered() {
    let last = |policy: &Policy| Ledger::of(*policy).kicks && !Ledger::of(*policy).shoots;
    for policy in Policy::ALL.into_iter().filter(last) {
        let name = format!("to_user, {}, filtered", policy.name());
        to_another(&name, Config { filter_lazies: true, ..config(policy) });
    }
}

fn to_another(name: &str, config: Config) {
    let policy = config.policy;
    explore(name, bound_of(policy), move || {
        let (rig, stage) = last_owner_of(config);
        let (_, next) = process(&rig);
        let leave = move |rig: &Rig| {
            rig.exit_mm();
            // An mm that lingers dies with the later of the two switches.
            if Ledger::of(policy).lingers {
                rig.machine.switch_to(next);
            }
        };
        race(&rig, leave, move |rig| {
            rig.machine.switch_to(stage.other);
        });
        expect_dead_after_drain(&rig, stage.mm);
    });
}

/// CPU 1 leaves for another user, and lets a kernel thread borrow that user's mm.
fn to_another_user_and_lazy_there(name: &str, policy: Policy) {
    explore(name, bound_of(policy), move || {
        let (rig, stage) = last_owner(policy);
        race(
            &rig,
            |rig| rig.exit_mm(),
            move |rig| {
                rig.machine.switch_to(stage.other);
                rig.machine.switch_to(rig.machine.idle(CPU1));
            },
        );
        expect_dead_after_drain(&rig, stage.mm);
    });
}

fn to_another_kernel_thread(name: &str, policy: Policy) {
    explore(name, bound_of(policy), move || {
        let (rig, stage) = last_owner(policy);
        let worker = rig.machine.kernel_thread();
        race(&rig, exit, move |rig| {
            rig.machine.switch_to(worker);
        });
        expect_dead_after_drain(&rig, stage.mm);
    });
}

fn back_to_the_same_mm(name: &str, policy: Policy) {
    explore(name, bound_of(policy), move || {
        let (rig, stage) = stage(config(policy), true);
        race(&rig, exit, move |rig| {
            rig.machine.switch_to(stage.second);
        });
        expect_dead_after_drain(&rig, stage.mm);
    });
}

fn both_threads_exit(name: &str, policy: Policy) {
    explore(name, bound_of(policy), move || {
        let (rig, stage) = stage(config(policy), true);
        switch(&rig, CPU1, stage.second);
        race(&rig, exit, |rig| rig.exit_mm());
        expect_dead_after_drain(&rig, stage.mm);
    });
}

/// CPU 0 exits; CPU 1, lazy on the mm, drops a real reference of its own.
fn lazy_outsider_drops(name: &str, policy: Policy) {
    explore(name, bound_of(policy), move || {
        let (rig, stage) = last_owner(policy);
        rig.mmgrab(stage.mm);
        race(&rig, exit, move |rig| rig.mmdrop(stage.mm));
        expect_dead_after_drain(&rig, stage.mm);
    });
}

/// CPU 1, which idles, leaves the mm for `init_mm` by itself.
fn left_by_an_idle_cpu(name: &str, policy: Policy) {
    explore(name, Some(3), move || {
        let (rig, stage) = last_owner(policy);
        let (_, next) = process(&rig);
        let leave = move |rig: &Rig| {
            rig.exit_mm();
            rig.machine.switch_to(next);
        };
        race(&rig, leave, |rig| rig.machine.with_preempt_off(|_| rig.leave_before_stop()));
        let freed = rig.mms()[stage.mm.slot()].id() != stage.mm;
        assert!(freed, "nobody has it, and it was not freed");
    });
}

/// The shoot without the eviction before it: the mm is a zombie, CPU 1 is lazy on it and
/// switches away, and CPU 0 drops the last reference.
fn last_drop_of_a_zombie(name: &str, policy: Policy) {
    last_drop(name, config(policy));
}

/// The shoot without the eviction, with the filter: CPUs that are seen elsewhere get no
/// IPI.
#[test]
fn zombie_filtered() {
    for policy in Policy::ALL.into_iter().filter(|&policy| Ledger::of(policy).shoots) {
        let name = format!("zombie, {}, filtered", policy.name());
        last_drop(&name, Config { filter_lazies: true, ..config(policy) });
    }
}

/// An exit as the series had it: its final flush evicts nobody, and the last drop shoots.
#[test]
fn exit_without_eviction() {
    explore("exit, shootdown, without the eviction", Some(5), || {
        let (rig, stage) = stage(Config { exit_kick: false, ..config(Policy::Shootdown) }, true);
        rig.mmput(stage.mm);
        race(&rig, exit, move |rig| {
            rig.machine.switch_to(stage.other);
            rig.machine.switch_to(rig.machine.idle(CPU1));
        });
        expect_dead_after_drain(&rig, stage.mm);
    });
}

/// PIDs run short while the CPU that a zombie waits for leaves it: it is freed once, by either.
#[test]
fn zombie_asked_for() {
    for policy in Policy::ALL.into_iter().filter(|&policy| Ledger::of(policy).waits) {
        explore("zombie, asked for", Some(3), move || {
            let (rig, stage) = last_owner(policy);
            rig.machine.on(CPU0, || exit(&rig));
            rig.machine.on(CPU0, || {
                rig.machine.with_preempt_off(|_| rig.leave_before_stop());
                // Six slots: init_mm, the zombie, `other`'s, and these.
                (0..3).for_each(|_| assert!(rig.mm_alloc().is_some()));
            });
            race(
                &rig,
                |rig| _ = rig.mm_alloc(),
                move |rig| {
                    rig.machine.switch_to(stage.other);
                },
            );
            assert!(rig.mms()[stage.mm.slot()].id() != stage.mm, "the zombie was not freed");
        });
    }
}

/// A thread that uses the memory without running in the mm passes no fence on the way
/// out. Only the end of its use orders its accesses before the teardown by the last user.
#[test]
fn accesses_end_before_the_teardown() {
    explore("accesses end before the teardown", None, || {
        let rig = boot(config(Policy::Shootdown));
        let mm = running(&rig);
        rig.mmget(mm);
        let contents = Contents::new();
        let (seen, torn_down) = (contents.clone(), contents.clone());
        rig.machine.set_hook(move |_, point| {
            if point == Point::MmputLast {
                torn_down.reuse();
            }
        });
        let leave = |rig: &Rig| {
            rig.machine.access_with(0, |_| contents.access());
            rig.exit_mm();
        };
        race(&rig, leave, move |rig| {
            seen.access();
            rig.mmput(mm);
        });
        expect_dead_after_drain(&rig, mm);
    });
}

fn last_drop(name: &str, config: Config) {
    explore(name, bound_of(config.policy), move || {
        let rig = boot(config);
        let ((zombie, owner), (_, other)) = (process(&rig), process(&rig));
        rig.mmgrab(zombie);
        switch(&rig, CPU1, owner);
        rig.machine.on(CPU1, || rig.exit_mm());
        race(
            &rig,
            |rig| rig.mmdrop(zombie),
            move |rig| {
                // The shoot may land before the switch, or after it.
                rig.machine.point(Point::SettleSwitch);
                rig.machine.switch_to(other);
            },
        );
        expect_dead_after_drain(&rig, zombie);
    });
}

under_each_policy! {
    to_user: to_another_user;
    to_user_then_lazy: to_another_user_and_lazy_there;
    to_kernel: to_another_kernel_thread;
    to_same_mm: back_to_the_same_mm;
    both_exit: both_threads_exit;
    outsider: lazy_outsider_drops;
    left_while_it_dies: left_by_an_idle_cpu;
    zombie: last_drop_of_a_zombie;
}
