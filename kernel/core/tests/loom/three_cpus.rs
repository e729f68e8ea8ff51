//! What only three CPUs show. Loom explores these up to few preemptions, which
//! each run prints.

use kcore::lazy_tlb::Policy;

use crate::{CPU0, CPU1, CPU2};
use crate::{boot_three, config, expect_dead_after_drain, explore, process, race_of_three, switch, thread};

/// Two CPUs are lazy on an mm while its owner exits; one goes to another user, the
/// other passes its borrow on to a kernel thread.
fn exit_with_two_lazies(name: &str, policy: Policy) {
    explore(name, Some(1), move || {
        let rig = boot_three(config(policy));
        let (mm, owner) = process(&rig);
        let (_, other) = process(&rig);
        for cpu in [CPU1, CPU2] {
            let second = thread(&rig, mm);
            switch(&rig, cpu, second);
            switch(&rig, cpu, rig.machine.idle(cpu));
            rig.mmput(mm);
        }
        let worker = rig.machine.kernel_thread();
        switch(&rig, CPU0, owner);
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

#[test]
fn exit_shootdown() {
    exit_with_two_lazies("exit with two lazies, shootdown", Policy::Shootdown);
}

#[test]
fn exit_hazard() {
    exit_with_two_lazies("exit with two lazies, hazard", Policy::Hazard);
}
