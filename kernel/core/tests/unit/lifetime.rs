//! Birth, exit and death of address spaces.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use kcore::Config;
use kcore::lazy_tlb::Policy;
use kcore::ledger::Ledger;
use kcore::machine::{Cpu, Point};
use kcore::mm::MmId;

use crate::{CPU0, CPU1, CPU2, Rig, assert_panics, each_policy};

/// The cost of an exit under each policy:
/// docs/lazy-tlb.md#per-policy-an-exit-that-finds-all-other-cpus-lazy.
#[test]
fn exit_with_every_other_cpu_lazy() {
    each_policy(|rig| {
        let (mm, user) = rig.process();
        rig.make_lazy(CPU1, rig.thread(mm));
        rig.make_lazy(CPU2, rig.thread(mm));
        // The two threads have gone elsewhere and died; their CPUs stay lazy.
        rig.mmput(mm);
        rig.mmput(mm);
        rig.switch(CPU0, user);
        rig.on(CPU0, || rig.exit_mm());
        assert_eq!(rig.total("exit_kick"), rig.owes().kicked(2));
        assert_eq!(rig.total("ipi_sent_call"), rig.owes().sent_away(2));
        assert_eq!(rig.total("shot_ipi"), rig.owes().shot_unkicked(2), "a kick leaves nobody to shoot");
        assert_eq!(rig.total("shot_self"), rig.owes().shot(1));
        assert_eq!(rig.lookup(mm) == mm, rig.owes().lingers);
        if rig.owes().counts {
            assert_eq!((rig.mm(mm).users(), rig.count(mm)), (0, 3), "a zombie with three borrowers");
        }
        rig.idle(CPU0);
        [CPU0, CPU1, CPU2].into_iter().for_each(|cpu| rig.drain(cpu));
        assert!(rig.lookup(mm).is_none());
    });
}

/// T13: the common case is a CPU that is lazy on the mm which it frees.
#[test]
fn the_last_thread_leaves_what_it_frees() {
    each_policy(|rig| {
        let (mm, user) = rig.process();
        rig.switch(CPU0, user);
        rig.on(CPU0, || {
            rig.machine.access(0).unwrap();
            rig.exit_mm();
        });
        assert_eq!(rig.machine.task(user).mm(), MmId::NONE);
        assert_eq!(rig.machine.loaded(CPU0), if rig.owes().lingers { mm } else { MmId::INIT_MM });
        rig.idle(CPU0);
        rig.drain(CPU0);
        assert!(rig.lookup(mm).is_none());
    });
}

/// T14: the CPU that the task left between two steps of its exit is lazy.
#[test]
fn the_exiting_task_migrates_at_every_point() {
    let points = [Point::ExitMmBorrowed, Point::MmputLast, Point::MmdropLast];
    for point in points {
        each_policy(|rig| {
            let (mm, user) = rig.process();
            rig.switch(CPU0, user);
            rig.on(CPU0, || rig.machine.access(0)).unwrap();
            let hits = Arc::new(AtomicU32::new(0));
            let counted = hits.clone();
            rig.machine.set_hook(move |kernel, at| {
                let exiting = kernel.machine.current_task() == user;
                if exiting && at == point && counted.fetch_add(1, Ordering::Relaxed) == 0 {
                    kernel.machine.migrate_current(CPU1);
                }
            });
            rig.on(CPU0, || rig.exit_mm());
            if !rig.owes().lingers {
                assert_eq!(hits.load(Ordering::Relaxed), 1, "{point:?} was not passed");
                assert!(rig.lookup(mm).is_none());
                // Where an exit evicts, it has done so before the last of the points.
                // Then only the shoot is left.
                let missed = point == Point::MmdropLast || !rig.owes().kicks;
                assert_eq!(rig.total("shot_ipi"), rig.owes().shot(missed.into()));
            }
            for cpu in [CPU0, CPU1] {
                rig.idle(cpu);
                rig.drain(cpu);
            }
            assert!(rig.lookup(mm).is_none());
        });
    }
}

/// T16: the last real reference goes on a CPU that was never in the mask.
#[test]
fn an_outsider_drops_the_last_reference() {
    each_policy(|rig| {
        let (mm, user) = rig.process();
        rig.mmgrab(mm);
        rig.switch(CPU0, user);
        rig.on(CPU0, || rig.exit_mm());
        assert_eq!(rig.mm(mm).users(), 0);
        rig.on(CPU2, || rig.mmdrop(mm));
        assert_eq!(rig.total("shot_ipi"), rig.owes().shot(1));
        rig.idle(CPU0);
        rig.drain(CPU0);
        assert!(rig.lookup(mm).is_none());
    });
}

/// T15: an mm that no CPU ever loaded.
#[test]
fn an_mm_that_was_never_loaded() {
    each_policy(|rig| {
        let (mm, _) = rig.process();
        rig.on(CPU0, || rig.mmput(mm));
        assert!(rig.lookup(mm).is_none());
        assert_eq!(rig.total("flush_none"), 1);
        assert_eq!(rig.total("ipi_sent_call"), 0);
    });
}

#[test]
fn slots_are_reused_lowest_first_with_a_new_generation() {
    each_policy(|rig| {
        let mms: Vec<MmId> = (0..3).map(|_| rig.process().0).collect();
        assert_eq!(mms.iter().map(|mm| mm.slot()).collect::<Vec<_>>(), [2, 3, 4]);
        rig.on(CPU0, || {
            rig.mmput(mms[2]);
            rig.mmput(mms[0]);
        });
        let (again, _) = rig.process();
        assert_eq!((again.slot(), again.pid()), (2, mms[0].pid()));
        assert_ne!(again, mms[0]);
        assert_panics("use after free", || rig.mmgrab(mms[0]));
        assert_panics("use after free", || rig.mmget_not_zero(mms[0]));
        assert_eq!(rig.process().0.slot(), 4);
    });
}

/// A shoot leaves the bits of the CPUs that it moved. The slot's next mm starts without
/// them.
#[test]
fn a_new_mm_is_in_no_tlb() {
    each_policy(|rig| {
        let (mm, user) = rig.process();
        rig.make_lazy(CPU1, user);
        rig.on(CPU0, || rig.mmput(mm));
        rig.drain(CPU1);
        let (again, _) = rig.process();
        assert_eq!(again.slot(), mm.slot());
        assert!(!rig.mm(again).cpumask().test(CPU1));
    });
}

#[test]
fn pids_run_out() {
    let rig = Rig::new(Policy::Shootdown);
    rig.on(CPU0, || {
        while rig.mm_alloc().is_some() {}
        assert_eq!(rig.mm_alloc(), None);
    });
    assert_eq!(rig.total("mm_created"), 5);
}

#[test]
fn users_are_not_raised_from_zero() {
    each_policy(|rig| {
        let (mm, _) = rig.process();
        rig.mmgrab(mm);
        assert!(rig.mmget_not_zero(mm));
        rig.on(CPU0, || {
            rig.mmput(mm);
            rig.mmput(mm);
        });
        assert!(!rig.mmget_not_zero(mm), "a zombie has no users");
        assert_panics("no users", || rig.mmget(mm));
    });
}

#[test]
fn another_tasks_mm() {
    each_policy(|rig| {
        let (mm, user) = rig.process();
        let task = rig.machine.task(user);
        rig.on(CPU1, || {
            assert_eq!(rig.get_task_mm(task), Some(mm));
            rig.mmput(mm);
        });
        rig.switch(CPU0, user);
        rig.on(CPU0, || rig.exit_mm());
        assert_eq!(rig.on(CPU1, || rig.get_task_mm(task)), None);
    });
}

/// The filter of shootdown spares a CPU that has gone on to another mm, and the flush
/// reaches it by broadcast.
#[test]
fn the_filter_spares_who_has_left() {
    spares_who_has_left(Policy::Shootdown, true);
}

/// Loaded needs no option for it.
#[test]
fn a_cpu_with_another_mm_is_not_asked_to_leave() {
    spares_who_has_left(Policy::Loaded, false);
}

fn spares_who_has_left(policy: Policy, filter_lazies: bool) {
    let rig = Rig::with(Config { policy, filter_lazies, debug_shoot_lazies: true, ..Config::default() });
    let (mm, user) = rig.process();
    let (_, elsewhere) = rig.process();
    rig.make_lazy(CPU1, rig.thread(mm));
    rig.make_lazy(CPU2, rig.thread(mm));
    rig.mmput(mm);
    rig.mmput(mm);
    rig.switch(CPU2, elsewhere);
    rig.switch(CPU0, user);
    rig.on(CPU0, || rig.exit_mm());
    assert_eq!(rig.total("exit_kick"), 1, "only CPU 1 is lazy on it");
    assert_eq!(rig.total("ipi_filtered"), 2, "CPU 2, in the kick and in the shoot");
    assert_eq!(rig.total("tlbie"), 1, "CPU 2's translations go by broadcast");
    assert!(rig.lookup(mm).is_none());
}

/// A policy that waits for CPUs.
fn each_that_waits(test: impl Fn(&Rig)) {
    Policy::ALL
        .into_iter()
        .filter(|&policy| Ledger::of(policy).waits)
        .for_each(|policy| test(&Rig::new(policy)));
}

/// A zombie is freed by the last CPU that leaves it, however that leaves, and no CPU is asked.
#[test]
fn the_last_cpu_that_leaves_frees() {
    each_that_waits(|rig| {
        let ((mm, user), (_, other)) = (rig.process(), rig.process());
        for cpu in [CPU1, CPU2] {
            rig.make_lazy(cpu, rig.thread(mm));
            rig.mmput(mm);
        }
        rig.switch(CPU0, user);
        rig.on(CPU0, || rig.exit_mm());
        // Another mm's end changes nothing.
        rig.switch(CPU0, other);
        assert!(rig.lookup(mm).is_some(), "CPUs 1 and 2 have it");
        rig.on(CPU1, || rig.machine.with_preempt_off(|_| rig.leave_before_stop()));
        assert!(rig.lookup(mm).is_some(), "CPU 2 has it");
        rig.on(CPU2, || rig.kthread_use_mm(MmId::INIT_MM));
        assert!(rig.lookup(mm).is_none(), "nobody has it");
        assert_eq!(rig.total("ipi_sent_call"), 0);
        assert_eq!((rig.zombies().peak.get(), rig.total("mm_freed")), (1, 1));
        rig.on(CPU2, || rig.kthread_unuse_mm(MmId::INIT_MM));
    });
}

/// If no PID is left, each CPU that has a zombie is asked to let it go, and its PID is used.
#[test]
fn zombies_are_asked_for_when_pids_run_short() {
    each_that_waits(|rig| {
        let zombies = [CPU0, CPU1, CPU2].map(|cpu| {
            let (mm, user) = rig.process();
            rig.make_lazy(cpu, user);
            rig.on(CPU0, || rig.mmput(mm));
            mm
        });
        assert!(zombies.iter().all(|&mm| rig.lookup(mm).is_some()));
        // Six slots: init_mm, the zombies, two that are free.
        let new: Vec<MmId> = std::iter::from_fn(|| rig.on(CPU0, || rig.mm_alloc())).collect();
        assert_eq!(new.len(), 5, "two were free, and three were let go");
        assert!(zombies.iter().all(|&mm| rig.lookup(mm).is_none()));
        assert_eq!(rig.total("let_go_ipi"), 2, "CPU 0 asks the others");
        assert_eq!(rig.zombies().peak.get(), 3);
    });
}
