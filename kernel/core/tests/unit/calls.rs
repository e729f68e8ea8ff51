//! Cross-calls.

use std::sync::{Arc, Mutex};

use kcore::counters::{Counters, Spread};
use kcore::cpu::CpuSet;
use kcore::event::Cause;
use kcore::ipi::Call;
use kcore::lazy_tlb::Policy;
use kcore::machine::{Cpu, Point};
use kcore::mm::flush::FlushRange;
use trace_format::Operation;

use crate::{CPU0, CPU1, CPU2, Rig, assert_panics};

fn call(rig: &kcore::LazyTlb<kcore::model::Model>, targets: CpuSet, call: Call) {
    rig.machine.with_preempt_off(|t| rig.call_on_mask(t, &targets, call));
}

/// The machine calls that were run: the CPU and the operands.
type Log = Arc<Mutex<Vec<(usize, u64, u64)>>>;

fn rig_with_log() -> (Rig, Log) {
    let rig = Rig::new(Policy::Shootdown);
    let log = Arc::new(Mutex::new(Vec::new()));
    let calls = log.clone();
    rig.machine.set_machine_call(move |cpu, a, b| calls.lock().unwrap().push((cpu.index(), a, b)));
    (rig, log)
}

/// Of each operation there is, the caller counts the IPIs once for one reason and once in the sum.
#[test]
fn reasons_add_up_to_the_sum() {
    let (rig, _) = rig_with_log();
    let (mm, _) = rig.process();
    let calls = [
        (Call::Shoot(mm), "shot_ipi"),
        (Call::LetGo(mm), "let_go_ipi"),
        (Call::Evict(mm, Cause::Exit), "exit_kick"),
        (Call::Evict(mm, Cause::Trim), "flush_kick"),
        (Call::Flush(mm, FlushRange::Everything), "ipi_flush"),
        (Call::Flush(mm, FlushRange::Translations), "ipi_flush"),
        (Call::Flush(mm, FlushRange::Pages { start: 0, pages: 1 }), "ipi_flush"),
        (Call::Barrier, "ipi_barrier"),
        (Call::AssertNotLazy(mm), "ipi_other"),
        (Call::Machine(0, 0), "ipi_other"),
    ];
    for &operation in Operation::ALL {
        let is_it = |(call, _): &&(Call, _)| call.asks().op == operation as u8;
        let &(one, reason) = calls.iter().find(is_it).expect("an operation without a reason");
        let values = || rig.cpus()[0].counters.values();
        let before = values();
        rig.on(CPU0, || call(&rig, CpuSet::first(3).without(CPU0), one));
        for ((name, before), after) in Counters::NAMES.iter().zip(before).zip(values()) {
            let expected = if [reason, "ipi_sent_call"].contains(name) { 2 } else { 0 };
            assert_eq!(after - before, expected, "{name} of {one:?}");
        }
    }
    assert_eq!(rig.total("ipi_received"), rig.total("ipi_sent_call"));
}

#[test]
fn spread_of_counts() {
    for counts in [&[7][..], &[0, 0], &[3, 9], &[5, 1, 9, 9, 2], &[u64::MAX / 4, 0, 1, 0], &[4; 33]] {
        let spread = Spread::of(counts.len(), |cpu| counts[cpu]);
        let mut sorted = counts.to_vec();
        sorted.sort_unstable();
        let (min, median, max) = (sorted[0], sorted[(counts.len() - 1) / 2], sorted[counts.len() - 1]);
        let at = counts.iter().position(|&one| one == max).unwrap();
        assert_eq!(spread, Spread { min, median, max, at, total: counts.iter().sum() }, "of {counts:?}");
    }
}

#[test]
fn every_target_runs_it_once() {
    let (rig, log) = rig_with_log();
    rig.on(CPU0, || {
        call(&rig, CpuSet::first(3).without(CPU0), Call::Machine(7, 9));
        call(&rig, CpuSet::EMPTY, Call::Machine(0, 0));
        call(&rig, CpuSet::first(3).without(CPU0), Call::Barrier);
    });
    log.lock().unwrap().sort_unstable();
    assert_eq!(*log.lock().unwrap(), [(1, 7, 9), (2, 7, 9)]);
    assert_eq!(rig.total("ipi_sent_call"), 4);
    assert_eq!(rig.total("ipi_received"), 4);
}

/// CPU 0 has posted and not waited yet when CPU 1 calls it.
#[test]
fn initiators_may_cross() {
    let (rig, log) = rig_with_log();
    let crossed = Mutex::new(false);
    rig.machine.set_hook(move |kernel, point| {
        if point == Point::CallPosted && !std::mem::replace(&mut *crossed.lock().unwrap(), true) {
            let all_but_me = CpuSet::first(3).without(CPU1);
            kernel.machine.on(CPU1, || call(kernel, all_but_me, Call::Machine(2, 2)));
        }
    });
    rig.on(CPU0, || call(&rig, CpuSet::first(3).without(CPU0), Call::Machine(1, 1)));
    log.lock().unwrap().sort_unstable();
    assert_eq!(*log.lock().unwrap(), [(0, 2, 2), (1, 1, 1), (2, 1, 1), (2, 2, 2)]);
}

#[test]
fn interrupts_must_be_on() {
    let (rig, log) = rig_with_log();
    let target = CpuSet::first(2).without(CPU0);
    let call = || rig.machine.with_irqs_off(|t| rig.call_on_mask(t, &target, Call::Machine(0, 0)));
    assert_panics("with interrupts off", || rig.on(CPU0, call));
    assert!(log.lock().unwrap().is_empty());
}

#[test]
fn a_silent_cpu_is_reported_then_fatal() {
    let (rig, _) = rig_with_log();
    rig.machine.deaf.store(1 << CPU2.index(), std::sync::atomic::Ordering::Relaxed);
    let others = CpuSet::first(3).without(CPU0);
    assert_panics("CPU 2 has not taken it", || rig.on(CPU0, || call(&rig, others, Call::Machine(0, 0))));
    let silent = rig.machine.silent.lock().unwrap();
    assert_eq!(*silent, [CPU2; 5], "every 10 s, until 60 s");
}
