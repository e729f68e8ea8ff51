//! The detectors do fire: each invariant is broken once on purpose.

use std::sync::atomic::{AtomicBool, Ordering};

use kcore::Config;
use kcore::cpu::CpuSet;
use kcore::ipi::Call;
use kcore::lazy_tlb::Policy;
use kcore::ledger::Ledger;
use kcore::machine::{Cpu, Host, IrqsOff, Mmu, Point};
use kcore::mm::MmId;

use crate::{CPU0, CPU1, Rig, assert_panics, each_policy};

#[test]
fn i1_pid_register_and_active_mm_agree() {
    each_policy(|rig| {
        let ((mm, user), (_, other)) = (rig.process(), rig.process());
        rig.switch(CPU0, user);
        rig.idle(CPU0);
        rig.switch(CPU0, user);
        // Without the core's knowledge.
        rig.on(CPU0, || rig.machine.with_irqs_off(|t| rig.machine.load_mm(t, MmId::INIT_MM)));
        let worker = rig.machine.kernel_thread();
        // Without a borrow the register is written on that arm, so the next one shows it.
        let next = if rig.owes().borrows { worker } else { rig.thread(mm) };
        assert_panics("I1", || rig.switch(CPU0, next));
        let _ = other;
    });
}

/// A user task that gives up its mm in the middle of the switch away from it takes a
/// borrow along. Only eager passes a point there.
#[test]
fn i2_a_descheduled_kernel_thread_keeps_no_borrow() {
    let rig = Rig::new(Policy::Eager);
    let (mm, user) = rig.process();
    rig.mmgrab(mm);
    rig.switch(CPU0, user);
    let gone = AtomicBool::new(false);
    rig.machine.set_hook(move |kernel, point| {
        if point == Point::LeaveLazyHalf && !gone.swap(true, Ordering::Relaxed) {
            kernel.kthread_unuse_mm(mm);
        }
    });
    assert_panics("I2", || rig.switch(CPU0, rig.machine.kernel_thread()));
}

#[test]
fn a_switch_starts_only_after_the_one_before_has_finished() {
    each_policy(|rig| {
        let (_, user) = rig.process();
        let (idle, task) = (rig.machine.idle(CPU0), rig.machine.task(user));
        let twice = |t: &IrqsOff| {
            rig.prepare_switch(t, rig.machine.task(idle), task);
            rig.prepare_switch(t, task, rig.machine.task(idle));
        };
        assert_panics("not finished", || rig.on(CPU0, || rig.machine.with_irqs_off(twice)));
    });
}

#[test]
fn i4_the_bit_comes_before_the_load() {
    each_policy(|rig| {
        let (mm, _) = rig.process();
        assert_panics("I4", || {
            rig.on(CPU0, || rig.machine.with_irqs_off(|t| rig.machine.load_mm(t, mm)));
        });
    });
}

/// A bit that is lost later shows at the next interrupt.
#[test]
fn i4_the_bit_stays_while_the_mm_is_loaded() {
    each_policy(|rig| {
        let (mm, user) = rig.process();
        rig.switch(CPU0, user);
        // Without the core's knowledge.
        rig.mm(mm).cpumask().clear(CPU0);
        let call = || {
            rig.machine.with_preempt_off(|t| rig.call_on_mask(t, &CpuSet::only(CPU0), Call::Barrier));
        };
        assert_panics("I4", || rig.on(CPU1, call));
    });
}

#[test]
fn i5_init_mm_is_never_freed() {
    let rig = Rig::new(Policy::Shootdown);
    assert_panics("I5", || rig.on(CPU0, || rig.mmdrop(MmId::INIT_MM)));
}

/// Whether the last drop looks for CPUs that have the mm.
fn looks(policy: Policy) -> bool {
    Ledger::of(policy).shoots || Ledger::of(policy).waits
}

#[test]
fn i6_a_loaded_mm_is_not_freed() {
    // A policy that shoots would move the CPU away, and one that waits would not free it.
    for policy in Policy::ALL.into_iter().filter(|&policy| !looks(policy)) {
        let rig = Rig::new(policy);
        let (mm, user) = rig.process();
        rig.switch(CPU1, user);
        assert_panics("I6", || rig.on(CPU0, || rig.mmdrop(mm)));
    }
    let rig = Rig::new(Policy::Shootdown);
    let (mm, user) = rig.process();
    rig.switch(CPU1, user);
    assert_panics("still owns", || rig.on(CPU0, || rig.mmdrop(mm)));
}

/// `debug_shoot_lazies` asks the CPU that frees, and the other CPUs, before I6 is
/// checked.
#[test]
fn a_cpu_that_was_left_lazy_is_told_by_its_name() {
    let cases = Policy::ALL.into_iter().flat_map(|policy| [(policy, false), (policy, true)]);
    // A policy that shoots would move the CPU, and one that does not count has no unit to lose.
    let stays = |(policy, here): (_, bool)| !looks(policy) && (Ledger::of(policy).counts || !here);
    for (policy, here) in cases.filter(|&case| stays(case)) {
        let rig = Rig::with(Config { policy, debug_shoot_lazies: true, ..Config::default() });
        let (mm, user) = rig.process();
        let lazy = if here { CPU0 } else { CPU1 };
        rig.switch(lazy, user);
        if here {
            // The borrow's unit goes, and the CPU is still lazy.
            rig.idle(lazy);
            rig.mmdrop(mm);
        }
        assert_panics(&format!("debug_shoot_lazies: {lazy} still has"), || rig.on(CPU0, || rig.mmdrop(mm)));
    }
}

#[test]
fn the_machine_detects_a_free_under_a_loaded_register() {
    each_policy(|rig| {
        let (mm, user) = rig.process();
        rig.switch(CPU1, user);
        assert_panics("use after free", || rig.on(CPU0, || rig.machine.free_mm(mm)));
    });
}

#[test]
fn the_machine_detects_the_load_of_a_freed_mm() {
    each_policy(|rig| {
        let (mm, user) = rig.process();
        rig.on(CPU0, || rig.mmput(mm));
        assert_panics("use after free", || rig.switch(CPU0, user));
        assert_panics("use after free", || {
            rig.on(CPU1, || rig.machine.with_irqs_off(|t| rig.machine.load_mm(t, mm)));
        });
    });
}

#[test]
fn the_machine_detects_a_frame_freed_too_soon() {
    each_policy(|rig| {
        let (mm, user) = rig.process();
        rig.make_lazy(CPU1, user);
        let frame = rig.machine.clear_pte(mm, 0);
        assert_panics("still holds", || rig.machine.free_frame(mm, frame));
    });
}

/// T20: the drop is refused, and does not deadlock.
#[test]
fn the_last_drop_with_interrupts_off_is_refused() {
    each_policy(|rig| {
        let (mm, _) = rig.process();
        assert_panics("T20", || rig.on(CPU0, || rig.machine.with_irqs_off(|_| rig.mmdrop(mm))));
    });
}

#[test]
fn the_last_drop_by_an_owner_is_refused() {
    each_policy(|rig| {
        let (mm, user) = rig.process();
        rig.switch(CPU0, user);
        assert_panics("by one of its own tasks", || rig.on(CPU0, || rig.mmdrop(mm)));
    });
}

#[test]
fn none_names_no_mm() {
    let rig = Rig::new(Policy::Shootdown);
    assert_panics("not alive", || rig.mmgrab(MmId::NONE));
}
