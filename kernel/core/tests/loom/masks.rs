//! Two CPUs that change one word of a mask at once, and two that change one slot.

use std::sync::Arc;

use kcore::cpu::{CpuId, CpuMask};
use kcore::lazy_tlb::Policy;
use kcore::machine::Cpu;
use loom::thread;

use crate::under_each_policy;
use crate::{CPU0, CPU1, CPU2, Rig, boot, config, expect_dead_after_drain, explore, race};

/// What is left of `mask` when the two changes were made at once: CPUs 0 to 2.
fn after(
    mask: CpuMask,
    this: impl FnOnce(&CpuMask),
    other: impl FnOnce(&CpuMask) + Send + 'static,
) -> [bool; 3] {
    let mask = Arc::new(mask);
    let shared = mask.clone();
    let thread = thread::spawn(move || other(&shared));
    this(&mask);
    thread.join().unwrap();
    [CPU0, CPU1, CPU2].map(|cpu| mask.test(cpu))
}

fn mask_of(cpus: &[CpuId]) -> CpuMask {
    let mask = CpuMask::default();
    cpus.iter().for_each(|&cpu| mask.set(cpu));
    mask
}

/// Two CPUs enter an mm at once: both bits stand.
#[test]
fn two_bits_are_set() {
    explore("two bits are set", None, || {
        let left = after(mask_of(&[CPU2]), |mask| mask.set(CPU0), |mask| mask.set(CPU1));
        assert_eq!(left, [true, true, true], "a bit is lost");
    });
}

/// One enters while another leaves.
#[test]
fn one_bit_is_set_and_one_cleared() {
    explore("one bit is set and one cleared", None, || {
        let left = after(mask_of(&[CPU1, CPU2]), |mask| mask.set(CPU0), |mask| mask.clear(CPU1));
        assert_eq!(left, [true, false, true], "a change is lost");
    });
}

/// Two leave at once.
#[test]
fn two_bits_are_cleared() {
    explore("two bits are cleared", None, || {
        let left = after(mask_of(&[CPU0, CPU1, CPU2]), |mask| mask.clear(CPU0), |mask| mask.clear(CPU1));
        assert_eq!(left, [false, false, true], "a change is lost");
    });
}

/// An mm's last reference goes while another CPU makes an mm, which may get the slot: the
/// new mm has another name, and the end of the old one does not touch it.
fn slot_is_reused(name: &str, policy: Policy) {
    explore(name, Some(3), move || {
        let rig: Rig = boot(config(policy));
        let old = rig.machine.on(CPU0, || rig.machine.create_mm());
        let made = Arc::new(std::sync::Mutex::new(None));
        let told = made.clone();
        race(
            &rig,
            |rig| rig.mmput(old),
            move |rig| {
                let new = rig.machine.create_mm();
                rig.machine.with_preempt_off(|t| rig.mm(new).cpumask().set(t.cpu()));
                *told.lock().unwrap() = Some(new);
            },
        );
        let new = made.lock().unwrap().expect("the other CPU made one");
        assert_ne!(new, old, "the name of an mm that has died");
        let mm = rig.mm(new);
        assert_eq!((mm.users(), mm.count()), (1, 1), "users and count of the new mm");
        assert!(mm.cpumask().test(CPU1), "the old mm's end cleared the new one's mask");
        mm.cpumask().clear(CPU1);
        rig.machine.on(CPU1, || rig.mmput(new));
        expect_dead_after_drain(&rig, new);
        expect_dead_after_drain(&rig, old);
    });
}

under_each_policy! {
    reuse: slot_is_reused;
}
