//! What only three CPUs show, up to a few preemptions.

use kcore::Config;
use kcore::lazy_tlb::Policy;
use kcore::mm::flush::FlushRange;

use crate::under_each_policy;
use crate::{CPU0, CPU1, CPU2, Contents};
use crate::{
    boot_three, config, expect_dead_after_drain, explore, lazy_on, process, race_of_three, running, switch,
    within,
};

/// Two CPUs are lazy on an mm while its owner exits; one goes to another user, the
/// other passes its borrow on to a kernel thread.
fn exit_with_two_lazies(name: &str, policy: Policy) {
    explore(name, Some(2), move || {
        let rig = boot_three(config(policy));
        let (mm, (_, other)) = (running(&rig), process(&rig));
        lazy_on(&rig, CPU1, mm);
        lazy_on(&rig, CPU2, mm);
        let worker = rig.machine.kernel_thread();
        race_of_three(
            &rig,
            |rig| rig.exit_mm(),
            move |rig| {
                rig.machine.switch_to(other);
            },
            move |rig| {
                rig.machine.switch_to(worker);
            },
        );
        expect_dead_after_drain(&rig, mm);
    });
}

/// The last reference is an outsider's, which has no part in the borrow that the owner
/// begins in its exit, nor in the one that CPU 1 ends.
fn exit_with_an_outsider(name: &str, policy: Policy) {
    explore(name, within(3, policy), move || {
        let rig = boot_three(config(policy));
        let (mm, (_, other)) = (running(&rig), process(&rig));
        lazy_on(&rig, CPU1, mm);
        rig.mmgrab(mm);
        race_of_three(
            &rig,
            |rig| rig.exit_mm(),
            move |rig| {
                rig.machine.switch_to(other);
            },
            move |rig| rig.mmdrop(mm),
        );
        expect_dead_after_drain(&rig, mm);
    });
}

under_each_policy! {
    two_lazies: exit_with_two_lazies;
    outsider: exit_with_an_outsider;
}

/// CPU 0 evicts CPU 1, which used the page a moment ago. CPU 2 sees the bit clear,
/// flushes nothing and reuses the frame: the clear bit orders CPU 1's last access before
/// that.
#[test]
fn a_kicked_cpu_has_finished() {
    explore("a kicked CPU has finished", Some(2), || {
        let rig = boot_three(Config { trim_period: 2, ..config(Policy::Shootdown) });
        let (mm, owner) = process(&rig);
        switch(&rig, CPU1, owner);
        // CPU 0's next flush trims, and CPU 2's does not.
        rig.machine.on(CPU0, || rig.flush(mm, FlushRange::Everything));
        let contents = Contents::new();
        let seen = contents.clone();
        race_of_three(
            &rig,
            |rig| rig.flush(mm, FlushRange::Everything),
            move |rig| {
                rig.machine.access_with(0, |_| seen.access());
                rig.machine.switch_to(rig.machine.idle(CPU1));
            },
            move |rig| {
                rig.machine.unmap(mm, 0);
                contents.reuse();
            },
        );
    });
}
