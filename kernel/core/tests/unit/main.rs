//! Every transition of the protocol on the host model, one thread acting as all CPUs.
//! Races are tested in `tests/loom`.
#![cfg(not(loom))]

mod arms;
mod calls;
mod flush;
mod hotplug;
mod invariants;
mod lifetime;
mod mappers;
mod membarrier;
mod sites;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use kcore::cpu::CpuId;
use kcore::event::Cause;
use kcore::ipi::Call;
use kcore::lazy_tlb::Policy;
use kcore::ledger::Ledger;
use kcore::mm::MmId;
use kcore::model::{Model, Size, TaskId};
use kcore::{Config, LazyTlb};

const CPU0: CpuId = CpuId::new(0);
const CPU1: CpuId = CpuId::new(1);
const CPU2: CpuId = CpuId::new(2);

/// A machine of three CPUs.
struct Rig(Arc<LazyTlb<Model>>);

impl std::ops::Deref for Rig {
    type Target = LazyTlb<Model>;

    fn deref(&self) -> &LazyTlb<Model> {
        &self.0
    }
}

impl Rig {
    fn new(policy: Policy) -> Rig {
        Rig::with(Config { policy, ..Config::default() })
    }

    fn with(config: Config) -> Rig {
        Rig(Model::boot(config, Size { cpus: 3, mms: 6, tasks: 16 }))
    }

    fn on<R>(&self, cpu: CpuId, f: impl FnOnce() -> R) -> R {
        self.machine.on(cpu, f)
    }

    fn switch(&self, cpu: CpuId, next: TaskId) -> kcore::switch::Arm {
        self.on(cpu, || self.machine.switch_to(next))
    }

    /// `cpu` goes idle, if it is not.
    fn idle(&self, cpu: CpuId) {
        let idle = self.machine.idle(cpu);
        if self.on(cpu, || self.machine.current_task()) != idle {
            self.switch(cpu, idle);
        }
    }

    /// A new process with one page mapped: its mm and its only task.
    fn process(&self) -> (MmId, TaskId) {
        let mm = self.on(CPU0, || self.machine.create_mm());
        self.machine.map(mm, 0);
        (mm, self.machine.user_task(mm))
    }

    /// One more thread of `mm`.
    fn thread(&self, mm: MmId) -> TaskId {
        self.mmget(mm);
        self.machine.user_task(mm)
    }

    /// `cpu` runs `user` and goes idle, with `mm` in its TLB.
    fn make_lazy(&self, cpu: CpuId, user: TaskId) {
        self.switch(cpu, user);
        self.on(cpu, || self.machine.access(0)).expect("page 0 is mapped");
        self.idle(cpu);
    }

    /// `cpu`, which is idle, leaves what it borrows.
    fn drain(&self, cpu: CpuId) {
        let (mm, user) = self.process();
        self.switch(cpu, user);
        self.on(cpu, || self.exit_mm());
        self.idle(cpu);
        assert!(self.owes().lingers || self.lookup(mm).is_none());
    }

    /// CPU 1 evicts CPU 0 from `mm`, and the IPI is on its way: it arrives as soon as
    /// interrupts are on.
    fn kick_is_on_its_way(kernel: &LazyTlb<Model>, mm: MmId) {
        kernel.cpu(CPU1).call.post(Call::Evict(mm, Cause::Trim), CPU0);
        kernel.cpu(CPU0).mailbox.0.set(CPU1);
        kernel.machine.spurious_irqs.store(true, Ordering::Relaxed);
    }

    /// The slot of `mm`, if `mm` still lives there.
    fn lookup(&self, mm: MmId) -> MmId {
        let id = self.mms()[mm.slot()].id();
        if id == mm { id } else { MmId::NONE }
    }

    /// What to expect of the policy.
    fn owes(&self) -> Ledger {
        Ledger::with(self.config())
    }

    /// `mm_count` of an mm that may have other holders than its users.
    fn count(&self, mm: MmId) -> u32 {
        self.mm(mm).count()
    }

    fn total(&self, name: &str) -> u64 {
        let index = kcore::counters::Counters::NAMES.iter().position(|&n| n == name).unwrap();
        self.cpus().iter().map(|cpu| cpu.counters.values()[index]).sum()
    }
}

/// The message of the panic that `f` ends in.
fn panic_of<R>(f: impl FnOnce() -> R) -> String {
    let run = AssertUnwindSafe(|| drop(f()));
    let payload = catch_unwind(run).expect_err("it should have panicked");
    match payload.downcast::<String>() {
        Ok(message) => *message,
        Err(payload) => payload.downcast::<&str>().expect("a message").to_string(),
    }
}

#[track_caller]
fn assert_panics<R>(with: &str, f: impl FnOnce() -> R) {
    let message = panic_of(f);
    assert!(message.contains(with), "expected a panic about {with:?}, not {message:?}");
}

/// Runs `test` under each policy, and under shootdown as the series had it.
fn each_policy(test: impl Fn(&Rig)) {
    for policy in Policy::ALL {
        println!("policy {}", policy.name());
        test(&Rig::new(policy));
    }
    println!("shootdown without the exit's eviction");
    test(&Rig::with(Config { exit_kick: false, ..Config::default() }));
}
