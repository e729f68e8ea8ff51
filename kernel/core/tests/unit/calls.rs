//! Cross-calls.

use std::sync::{Arc, Mutex};

use kcore::cpu::CpuSet;
use kcore::ipi::Call;
use kcore::lazy_tlb::Policy;
use kcore::machine::{Cpu, Point};

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
