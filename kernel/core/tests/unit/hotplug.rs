//! CPUs go offline and come back.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use kcore::Config;
use kcore::cpu::{CpuId, CpuSet};
use kcore::ipi::Call;
use kcore::lazy_tlb::Policy;
use kcore::ledger::Ledger;
use kcore::machine::Cpu;
use kcore::mm::MmId;

use crate::{CPU0, CPU1, CPU2, Rig, assert_panics, each_policy};

fn masks_name(rig: &Rig, cpu: CpuId) -> bool {
    rig.mms().iter().any(|mm| mm.cpumask().test(cpu))
}

/// T7: a bit that stays in a mask stands for a flush that is not made, or for stale
/// entries after the return.
#[test]
fn who_is_offline_is_in_no_mask() {
    each_policy(|rig| {
        let ((mm, user), (_, other)) = (rig.process(), rig.process());
        rig.make_lazy(CPU1, other);
        rig.make_lazy(CPU1, user);
        assert!(rig.mm(mm).cpumask().test(CPU1) && rig.mm(MmId::INIT_MM).cpumask().test(CPU1));
        rig.machine.stop(CPU1);
        assert!(!masks_name(rig, CPU1));
        assert!(!rig.online().contains(CPU1));
        assert_eq!(rig.cpu(CPU1).active_mm.peek(), MmId::NONE);
        // Its TLB has nothing left either: the model looks when a frame is freed.
        let frame = rig.machine.clear_pte(mm, 0);
        rig.on(CPU0, || rig.flush(mm, kcore::mm::flush::FlushRange::Translations));
        rig.machine.free_frame(mm, frame);
        rig.machine.start(CPU1);
        assert!(rig.mm(MmId::INIT_MM).cpumask().test(CPU1));
        assert_eq!(rig.cpu(CPU1).active_mm.peek(), MmId::INIT_MM);
    });
}

/// What was unmapped while a CPU was away it must not find in its TLB: the model
/// panics at the first load by a CPU that has not flushed.
#[test]
fn a_cpu_starts_with_an_empty_tlb() {
    each_policy(|rig| {
        let (mm, user) = rig.process();
        rig.make_lazy(CPU1, user);
        rig.machine.stop(CPU1);
        rig.machine.start(CPU1);
        assert_eq!(rig.machine.cached(CPU1, mm), 0);
        rig.switch(CPU1, user);
    });
}

/// T8: the mm dies when its lazy CPUs are gone.
#[test]
fn an_mm_dies_while_its_cpus_are_offline() {
    each_policy(|rig| {
        let (mm, owner) = rig.process();
        for cpu in [CPU1, CPU2] {
            let thread = rig.thread(mm);
            rig.make_lazy(cpu, thread);
            rig.on(CPU0, || rig.mmput(mm));
            rig.machine.stop(cpu);
        }
        let sent = rig.total("ipi_sent_call");
        rig.switch(CPU0, owner);
        rig.on(CPU0, || rig.exit_mm());
        rig.drain(CPU0);
        assert!(rig.lookup(mm).is_none(), "{mm:?} leaked");
        assert_eq!(rig.total("ipi_sent_call"), sent, "IPIs to CPUs that are offline");
        for cpu in [CPU1, CPU2] {
            rig.machine.start(cpu);
            let (_, next) = rig.process();
            rig.switch(cpu, next);
        }
    });
}

/// Under refcount the borrow that the CPU gives up may be the last reference.
#[test]
fn the_borrow_that_ends_may_be_the_last() {
    each_policy(|rig| {
        let (mm, owner) = rig.process();
        rig.switch(CPU1, owner);
        rig.on(CPU1, || rig.exit_mm());
        rig.idle(CPU1);
        assert_eq!(rig.lookup(mm).is_some(), rig.owes().lingers);
        rig.machine.stop(CPU1);
        assert!(rig.lookup(mm).is_none(), "{mm:?} leaked");
    });
}

/// The borrow is read and left in one section: an eviction comes before or after it, and
/// the borrow is given back once.
#[test]
fn a_kick_does_not_land_in_the_leaving() {
    each_policy(|rig| {
        let (mm, user) = rig.process();
        let init = rig.count(MmId::INIT_MM);
        rig.make_lazy(CPU0, user);
        Rig::kick_is_on_its_way(rig, mm);
        rig.on(CPU0, || rig.machine.with_preempt_off(|_| rig.leave_before_stop()));
        assert_eq!(rig.machine.loaded(CPU0), MmId::INIT_MM);
        assert_eq!((rig.count(mm), rig.count(MmId::INIT_MM)), (1, init));
    });
}

/// T11: `init_mm`'s count and bits over boot, start and death.
#[test]
fn init_mm_is_balanced() {
    each_policy(|rig| {
        let holders = |online: u32| 1 + rig.owes().counted(online);
        assert_eq!(rig.count(MmId::INIT_MM), holders(3));
        for round in 0..3 {
            rig.machine.stop(CPU1);
            assert_eq!(rig.count(MmId::INIT_MM), holders(2), "offline, round {round}");
            assert!(!rig.mm(MmId::INIT_MM).cpumask().test(CPU1));
            rig.machine.start(CPU1);
            assert_eq!(rig.count(MmId::INIT_MM), holders(3), "online, round {round}");
            assert!(rig.mm(MmId::INIT_MM).cpumask().test(CPU1));
        }
    });
}

/// T8: a stop with a borrow is refused, not left for the free to find.
#[test]
fn a_cpu_that_borrows_does_not_stop() {
    for policy in Policy::ALL.into_iter().filter(|&policy| Ledger::of(policy).borrows) {
        let rig = Rig::new(policy);
        let (_, user) = rig.process();
        rig.make_lazy(CPU1, user);
        assert_panics("would stop with", || rig.on(CPU1, || rig.machine.with_irqs_off(|t| rig.stop_cpu(t))));
    }
}

/// The caller looked before the CPU went. It does not wait for that CPU, and the call
/// does not run when the CPU is back.
#[test]
fn a_call_to_a_cpu_that_has_gone() {
    let rig = Rig::new(Policy::Shootdown);
    let ran = Arc::new(AtomicU64::new(0));
    let count = ran.clone();
    rig.machine.set_machine_call(move |cpu, _, _| {
        count.fetch_or(1 << cpu.index(), Ordering::Relaxed);
    });
    let targets = CpuSet::first(3).without(CPU0);
    rig.machine.stop(CPU1);
    rig.on(CPU0, || rig.machine.with_preempt_off(|t| rig.call_on_mask(t, &targets, Call::Machine(0, 0))));
    assert_eq!(ran.load(Ordering::Relaxed), 1 << CPU2.index());
    assert_eq!(rig.total("ipi_sent_call"), 1);
    rig.machine.start(CPU1);
    rig.on(CPU1, || rig.machine.with_irqs_off(|t| rig.handle_calls(t)));
    assert_eq!(ran.load(Ordering::Relaxed), 1 << CPU2.index(), "an old call ran after the return");
}

/// Calls that came too late for an interrupt are answered before the stop.
#[test]
fn the_mailbox_is_empty_at_the_end() {
    let rig = Rig::new(Policy::Shootdown);
    let ran = Arc::new(AtomicU64::new(0));
    let count = ran.clone();
    rig.machine.set_machine_call(move |_, _, _| {
        count.fetch_add(1, Ordering::Relaxed);
    });
    // Posted like a sender that is about to wait.
    rig.cpu(CPU0).call.post(Call::Machine(0, 0), CPU1);
    rig.cpu(CPU1).mailbox.0.set(CPU0);
    rig.machine.stop(CPU1);
    assert_eq!(ran.load(Ordering::Relaxed), 1);
    assert!(!rig.cpu(CPU1).mailbox.0.test(CPU0));
}

/// Flushes by IPI leave out a CPU that is offline: it holds nothing.
#[test]
fn a_flush_by_ipi_skips_who_is_offline() {
    let rig = Rig::with(Config { global_by_ipi: true, ..Config::default() });
    let (mm, owner) = rig.process();
    let (second, third) = (rig.thread(mm), rig.thread(mm));
    rig.make_lazy(CPU1, second);
    rig.make_lazy(CPU2, third);
    rig.switch(CPU0, owner);
    rig.machine.stop(CPU1);
    let frame = rig.machine.clear_pte(mm, 0);
    rig.on(CPU0, || rig.flush(mm, kcore::mm::flush::FlushRange::Pages { start: 0, pages: 1 }));
    rig.machine.free_frame(mm, frame);
    assert_eq!(rig.total("ipi_sent_call"), 1);
}
