//! A kernel thread enters and leaves an mm while its owner exits, or flushes.

use std::sync::atomic::Ordering;

use kcore::Config;
use kcore::lazy_tlb::Policy;

use crate::under_each_policy;
use crate::{CPU0, CPU1, boot, config, expect_dead_after_drain, explore, process, race, switch};

fn use_against_exit(name: &str, policy: Policy) {
    explore(name, Some(3), move || {
        let rig = boot(config(policy));
        let (mm, owner) = process(&rig);
        switch(&rig, CPU0, owner);
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

/// T2 and T4: the owner is the only user it knows of, so it kicks everyone and
/// then flushes only itself.
fn use_against_a_trimming_flush(name: &str, policy: Policy) {
    explore(name, Some(3), move || {
        let rig = boot(Config { policy, global_by_ipi: false, trim_period: 1, ..Config::default() });
        let (mm, owner) = process(&rig);
        switch(&rig, CPU0, owner);
        // A reference, but no user: the owner is single-threaded in its own eyes.
        rig.mmgrab(mm);
        rig.machine.walk_on_load.store(true, Ordering::Relaxed);
        race(
            &rig,
            |rig| rig.machine.unmap(mm, 0),
            move |rig| {
                rig.kthread_use_mm(mm);
                rig.machine.access(0);
            },
        );
        assert!(rig.mm(mm).cpumask().test(CPU1), "only a CPU itself clears its bit");
        rig.machine.on(CPU1, || {
            assert_eq!(rig.machine.access(0), None, "the page is gone");
            rig.kthread_unuse_mm(mm);
            rig.mmdrop(mm);
        });
        rig.machine.on(CPU0, || rig.exit_mm());
        expect_dead_after_drain(&rig, mm);
    });
}

under_each_policy! {
    exit: use_against_exit;
    flush: use_against_a_trimming_flush;
}
