//! CPU 1 goes offline while CPU 0 frees what it borrows, flushes what it has cached,
//! or calls it.

use std::sync::Arc;

use kcore::Config;
use kcore::cpu::CpuSet;
use kcore::ipi::Call;
use kcore::lazy_tlb::Policy;
use kcore::machine::Cpu;
use kcore::mm::MmId;
use kcore::mm::flush::FlushRange;
use kcore::sync::{AtomicU64, Ordering};

use crate::under_each_policy;
use crate::{
    CPU0, CPU1, Contents, Rig, boot, config, expect_dead_after_drain, explore, lazy_on, process, running,
    switch, thread, within,
};

/// CPU 0 does `work` while CPU 1, idle, goes offline. CPU 1 is online again at the
/// end.
fn race_with_stop(rig: &Rig, work: impl FnOnce(&Rig)) {
    race_with_last_work_and_stop(rig, |_| (), work);
}

/// CPU 1 does its `last` work, then goes offline, while CPU 0 does `work`. CPU 1 is
/// online again at the end.
fn race_with_last_work_and_stop(
    rig: &Rig,
    last: impl FnOnce(&Rig) + Send + 'static,
    work: impl FnOnce(&Rig),
) {
    let other = rig.clone();
    let stop = loom::thread::spawn(move || {
        other.machine.on(CPU1, || last(&other));
        other.machine.stop(CPU1);
    });
    rig.machine.on(CPU0, || work(rig));
    stop.join().unwrap();
    for mm in rig.mms() {
        assert!(!mm.cpumask().test(CPU1), "{CPU1} is offline and in a mask");
    }
    rig.machine.start(CPU1);
}

/// The policy's clean-up: CPU 1 borrows the mm that CPU 0 frees.
fn exit_against_stop(name: &str, policy: Policy) {
    explore(name, within(3, policy), move || {
        let rig = boot(config(policy));
        let mm = running(&rig);
        lazy_on(&rig, CPU1, mm);
        race_with_stop(&rig, |rig| rig.exit_mm());
        expect_dead_after_drain(&rig, mm);
    });
}

/// A frame is freed after a flush by IPI: CPU 1 answers, or has flushed itself.
fn unmap_against_stop(name: &str, policy: Policy) {
    explore(name, Some(3), move || {
        let rig = boot(Config { global_by_ipi: true, ..config(policy) });
        let mm = running(&rig);
        // A third use, so that the flush does not begin with an eviction.
        let (second, _third) = (thread(&rig, mm), thread(&rig, mm));
        switch(&rig, CPU1, second);
        rig.machine.on(CPU1, || rig.machine.access(0)).unwrap();
        switch(&rig, CPU1, rig.machine.idle(CPU1));
        race_with_stop(&rig, |rig| {
            let frame = rig.machine.clear_pte(mm, 0);
            rig.flush(mm, FlushRange::Translations);
            rig.machine.free_frame(mm, frame);
        });
    });
}

under_each_policy! {
    exit: exit_against_stop;
    unmap: unmap_against_stop;
}

/// CPU 1 has used the page a moment ago. CPU 0 sees it out of the mask, or offline, and
/// reuses the frame: nothing else orders CPU 1's last access before that.
#[test]
fn reuse() {
    explore("a frame reused behind a CPU that goes", Some(3), || {
        let rig = boot(Config { global_by_ipi: true, ..config(Policy::Shootdown) });
        let mm = running(&rig);
        // A third use, so that the flush does not begin with an eviction.
        let (second, _third) = (thread(&rig, mm), thread(&rig, mm));
        switch(&rig, CPU1, second);
        let contents = Contents::new();
        let seen = contents.clone();
        let last = move |rig: &Rig| {
            rig.machine.access_with(0, |_| seen.access());
            rig.machine.switch_to(rig.machine.idle(CPU1));
        };
        race_with_last_work_and_stop(&rig, last, |rig| {
            rig.machine.unmap(mm, 0);
            contents.reuse();
        });
    });
}

/// A call is run once, or taken back; what CPU 1 did before it went is seen by the
/// caller in either case.
#[test]
fn call() {
    explore("call of a CPU that goes", None, || {
        let rig = boot(config(Policy::Shootdown));
        let ran = Arc::new(AtomicU64::new(0));
        let count = ran.clone();
        rig.machine.set_machine_call(move |_, _, _| {
            count.fetch_add(1, Ordering::Relaxed);
        });
        race_with_stop(&rig, |rig| {
            let targets = CpuSet::only(CPU1);
            rig.machine.with_preempt_off(|t| rig.call_on_mask(t, &targets, Call::Machine(0, 0)));
            let ran = ran.load(Ordering::Relaxed);
            assert!(ran == 1 || ran == 0 && !rig.online().contains(CPU1), "run {ran} times");
        });
        // An old call would run now.
        let before = ran.load(Ordering::Relaxed);
        rig.machine.on(CPU1, || rig.machine.with_irqs_off(|t| rig.handle_calls(t)));
        assert_eq!(ran.load(Ordering::Relaxed), before, "a call outlived its wait");
    });
}

/// CPU 1 is back and runs a user while CPU 0, which found it gone or not, frees.
#[test]
fn back_at_work() {
    explore("back at work", Some(3), || {
        let rig = boot(config(Policy::Shootdown));
        let (mm, (_, next)) = (running(&rig), process(&rig));
        lazy_on(&rig, CPU1, mm);
        rig.machine.stop(CPU1);
        let other = rig.clone();
        let start = loom::thread::spawn(move || {
            other.machine.start(CPU1);
            other.machine.on(CPU1, || other.machine.switch_to(next));
        });
        rig.machine.on(CPU0, || rig.exit_mm());
        start.join().unwrap();
        expect_dead_after_drain(&rig, mm);
    });
}

/// A CPU that is seen online is seen with what its start has stored, by every CPU.
#[test]
fn who_is_online_has_started() {
    explore("who is online has started", None, || {
        let rig = boot(config(Policy::Shootdown));
        rig.machine.stop(CPU1);
        let other = rig.clone();
        let start = loom::thread::spawn(move || other.machine.start(CPU1));
        if rig.online().contains(CPU1) {
            assert_eq!(rig.cpu(CPU1).active_mm.peek(), MmId::INIT_MM);
        }
        start.join().unwrap();
    });
}
