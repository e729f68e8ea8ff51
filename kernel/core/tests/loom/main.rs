//! The protocol's races, each explored by loom in every interleaving and every
//! weak outcome that its memory model has, on the host model of the machine.
//!
//! Run with `RUSTFLAGS="--cfg loom"`, a target directory of its own and the
//! profile `model`. Each test prints how many executions it explored, and its
//! bound on preemptions if it has one. `LOOM_MAX_PREEMPTIONS` replaces all bounds.
#![cfg(loom)]

mod exit;
mod flushes;
mod gate;
mod handoff;
mod handshake;
mod hotplug;
mod lookup;
mod mailbox;
mod masks;
mod membarrier;
mod preempted;
mod search;
mod three_cpus;
mod truncate;
mod use_mm;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use loom::cell::UnsafeCell;

use kcore::cpu::CpuId;
use kcore::lazy_tlb::Policy;
use kcore::ledger::Ledger;
use kcore::machine::Cpu;
use kcore::mm::MmId;
use kcore::model::{Model, Race, Size, TaskId};
use kcore::{Config, LazyTlb};

const CPU0: CpuId = CpuId::new(0);
const CPU1: CpuId = CpuId::new(1);
const CPU2: CpuId = CpuId::new(2);

type Rig = Arc<LazyTlb<Model>>;

/// Runs `test` in all interleavings, or in those with at most `bound` preemptions.
fn explore(name: &str, bound: Option<usize>, test: impl Fn() + Send + Sync + 'static) {
    let executions = Arc::new(AtomicU64::new(0));
    let counted = executions.clone();
    let mut builder = loom::model::Builder::new();
    builder.max_branches = 20_000;
    builder.preemption_bound = builder.preemption_bound.or(bound);
    let bound = match builder.preemption_bound {
        None => "exhaustive".into(),
        Some(bound) => format!("at most {bound} preemptions"),
    };
    builder.check(move || {
        counted.fetch_add(1, Ordering::Relaxed);
        test();
    });
    println!("loom: {name}: {} executions, {bound}", executions.load(Ordering::Relaxed));
}

/// The bound under `policy` of a test that needs none: it is searched without one where the project's
/// subject is. The handshake of a policy that waits for CPUs multiplies the interleavings.
fn bound_of(policy: Policy) -> Option<usize> {
    let bound = if Ledger::of(policy).waits { 3 } else { 4 };
    (policy != Policy::Shootdown).then_some(bound)
}

/// The bound `most` under `policy` if that is the project's subject, one less under the others.
fn within(most: usize, policy: Policy) -> Option<usize> {
    Some(if policy == Policy::Shootdown { most } else { most - 1 })
}

/// The plainest configuration under `policy`.
fn config(policy: Policy) -> Config {
    Config { policy, ..Config::default() }
}

/// A machine of two CPUs.
fn boot(config: Config) -> Rig {
    Model::boot(config, Size { cpus: 2, mms: 6, tasks: 8 })
}

/// A machine of three CPUs.
fn boot_three(config: Config) -> Rig {
    Model::boot(config, Size { cpus: 3, mms: 6, tasks: 10 })
}

/// A process with page 0 mapped: its mm, and a task that owns its one use of it.
fn process(rig: &Rig) -> (MmId, TaskId) {
    let mm = rig.machine.on(CPU0, || rig.machine.create_mm());
    rig.machine.map(mm, 0);
    (mm, rig.machine.user_task(mm))
}

/// A process with page 0 mapped, whose owner runs on CPU 0.
fn running(rig: &Rig) -> MmId {
    let (mm, owner) = process(rig);
    switch(rig, CPU0, owner);
    mm
}

/// One more thread of `mm`.
fn thread(rig: &Rig, mm: MmId) -> TaskId {
    rig.mmget(mm);
    rig.machine.user_task(mm)
}

/// `cpu` switches to `task`.
fn switch(rig: &Rig, cpu: CpuId, task: TaskId) {
    rig.machine.on(cpu, || rig.machine.switch_to(task));
}

/// `cpu` runs a thread of `mm` and is lazy on it since. The thread is gone.
fn lazy_on(rig: &Rig, cpu: CpuId, mm: MmId) {
    let second = thread(rig, mm);
    switch(rig, cpu, second);
    switch(rig, cpu, rig.machine.idle(cpu));
    rig.mmput(mm);
}

/// The owner of `mm` runs on CPU 0. `second`, a thread of it, has run on CPU 1, which has page 0 in
/// its TLB. `other` owns another mm.
#[derive(Clone, Copy)]
struct Stage {
    mm: MmId,
    second: TaskId,
    other: TaskId,
}

/// A machine of two CPUs with a [`Stage`]. CPU 1 still runs `second`, or is `lazy` since.
fn stage(config: Config, lazy: bool) -> (Rig, Stage) {
    let rig = boot(config);
    let mm = running(&rig);
    let second = thread(&rig, mm);
    let (_, other) = process(&rig);
    switch(&rig, CPU1, second);
    rig.machine.on(CPU1, || rig.machine.access(0)).unwrap();
    if lazy {
        switch(&rig, CPU1, rig.machine.idle(CPU1));
    }
    (rig, Stage { mm, second, other })
}

/// What the two CPUs do at once.
fn race(rig: &Rig, cpu0: impl FnOnce(&Rig), cpu1: impl FnOnce(&Rig) + Send + 'static) {
    let race = Race::of(2, rig);
    let other = race.clone();
    let thread = loom::thread::spawn(move || other.run(CPU1, cpu1));
    race.run(CPU0, cpu0);
    thread.join().unwrap();
}

/// What three CPUs do at once.
fn race_of_three(
    rig: &Rig,
    cpu0: impl FnOnce(&Rig),
    cpu1: impl FnOnce(&Rig) + Send + 'static,
    cpu2: impl FnOnce(&Rig) + Send + 'static,
) {
    let race = Race::of(3, rig);
    let (second, third) = (race.clone(), race.clone());
    let second = loom::thread::spawn(move || second.run(CPU1, cpu1));
    let third = loom::thread::spawn(move || third.run(CPU2, cpu2));
    race.run(CPU0, cpu0);
    second.join().unwrap();
    third.join().unwrap();
}

/// Each CPU gives up what it borrows; then `mm` must be dead, and `init_mm` must have
/// as many holders as at boot.
fn expect_dead_after_drain(rig: &Rig, mm: MmId) {
    for cpu in (0..rig.nr_cpus()).map(CpuId::new) {
        rig.machine.on(cpu, || {
            if rig.machine.current_task() != rig.machine.idle(cpu) {
                if rig.machine.task(rig.machine.current_task()).mm().is_some() {
                    rig.exit_mm();
                }
                rig.machine.switch_to(rig.machine.idle(cpu));
            }
            rig.machine.with_preempt_off(|_| rig.leave_before_stop());
        });
    }
    assert!(rig.mms()[mm.slot()].id() != mm, "{mm:?} leaked");
    let holders = 1 + Ledger::with(rig.config()).counted(rig.nr_cpus());
    assert_eq!(rig.mm(MmId::INIT_MM).count() as usize, holders, "holders of init_mm");
}

/// The contents of a page: loom reports an access that is not ordered before the one that
/// reuses the frame.
struct Contents(UnsafeCell<()>);

// SAFETY: the cell holds nothing and no pointer to it is followed: it is there for loom
// to track the accesses.
unsafe impl Sync for Contents {}
// SAFETY: the cell holds nothing and no pointer to it is followed.
unsafe impl Send for Contents {}

impl Contents {
    fn new() -> Arc<Self> {
        Arc::new(Self(UnsafeCell::new(())))
    }

    fn access(&self) {
        self.0.with(|_| ());
    }

    fn reuse(&self) {
        self.0.with_mut(|_| ());
    }
}

/// A module `$name` with `$test(name, policy)` as a test under each policy.
macro_rules! under_each_policy {
    ($($name:ident: $test:expr;)+) => {$(
        mod $name {
            use super::*;

            use crate::under_policies;
            kcore::policies!(under_policies $name: $test;);
        }
    )+};
}
use under_each_policy;

macro_rules! under_policies {
    ($name:ident: $test:expr; $($(#[$doc:meta])+ $policy:ident $variant:ident,)+) => {$(
        #[test]
        fn $policy() {
            $test(concat!(stringify!($name), ", ", stringify!($policy)), Policy::$variant);
        }
    )+};
}
use under_policies;
