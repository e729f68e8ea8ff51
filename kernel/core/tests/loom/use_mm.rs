//! A kernel thread enters and leaves an mm while its owner exits, flushes or trims.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use kcore::Config;
use kcore::lazy_tlb::Policy;
use kcore::ledger::Ledger;

use crate::under_each_policy;
use crate::{
    CPU0, CPU1, Rig, boot, bound_of, config, expect_dead_after_drain, explore, race, running, within,
};

fn use_against_exit(name: &str, policy: Policy) {
    explore(name, bound_of(policy), move || {
        let rig = boot(config(policy));
        let mm = running(&rig);
        rig.mmget(mm);
        race(
            &rig,
            |rig| rig.exit_mm(),
            move |rig| {
                rig.kthread_use_mm(mm);
                assert!(rig.machine.access(0).is_some(), "we are a user of it");
                rig.kthread_unuse_mm(mm);
                rig.mmput(mm);
            },
        );
        expect_dead_after_drain(&rig, mm);
    });
}

/// CPU 0 unmaps a page of the mm that CPU 1 enters and walks; then `check`. The kernel
/// thread is counted as a user only if `known`, or by the policy.
fn unmap_against_use(config: Config, known: bool, check: impl FnOnce(&Rig)) {
    let rig = boot(config);
    let mm = running(&rig);
    rig.mmgrab(mm);
    if known {
        rig.mmget(mm);
    }
    rig.machine.walk_on_load.store(true, Ordering::Relaxed);
    race(
        &rig,
        |rig| rig.machine.unmap(mm, 0),
        move |rig| {
            rig.kthread_use_mm(mm);
            rig.machine.access(0);
        },
    );
    check(&rig);
    assert!(rig.mm(mm).cpumask().test(CPU1), "only a CPU itself clears its bit");
    rig.machine.on(CPU1, || {
        assert_eq!(rig.machine.access(0), None, "the page is gone");
        rig.kthread_unuse_mm(mm);
        rig.mmdrop(mm);
        if known {
            rig.mmput(mm);
        }
    });
    rig.machine.on(CPU0, || rig.exit_mm());
    expect_dead_after_drain(&rig, mm);
}

fn use_against_a_flush(name: &str, policy: Policy) {
    for global_by_ipi in [false, true] {
        let name = format!("{name}, {}", if global_by_ipi { "IPI" } else { "tlbie" });
        let config = Config { policy, global_by_ipi, ..Config::default() };
        explore(&name, within(4, policy), move || unmap_against_use(config, true, |_| ()));
    }
}

/// T2 and T4: all other CPUs are evicted, and the rest of the flush is local. Either the
/// owner knows of no other user, or its trim clock is due.
fn use_against_a_trimming_flush(name: &str, policy: Policy) {
    for known in [false, true] {
        let name = format!("{name}, {}", if known { "by the clock" } else { "single-threaded" });
        let by_clock = known || Ledger::of(policy).uses;
        let config = Config { policy, trim_period: if by_clock { 1 } else { 2 }, ..Config::default() };
        let kicked = Arc::new(AtomicBool::new(false));
        let seen = kicked.clone();
        explore(&name, within(4, policy), move || {
            unmap_against_use(config, known, |rig| {
                let counters = &rig.cpu(CPU0).counters;
                assert_eq!(counters.flush_global.get(), 0, "a broadcast where a kick would do");
                seen.fetch_or(counters.ipi_sent_call.get() > 0, Ordering::Relaxed);
            });
        });
        assert!(kicked.load(Ordering::Relaxed), "{name}: {CPU1} was in the mask in no execution");
    }
}

under_each_policy! {
    exit: use_against_exit;
    flush: use_against_a_flush;
    trim: use_against_a_trimming_flush;
}
