//! The lazy-TLB protocol, apart from any machine.
//!
//! A kernel thread that runs after a user task *borrows* its address space instead of
//! switching away from it. When an address space dies, every CPU that still borrows it
//! must leave it. This crate is that protocol. It also holds the few words in memory by
//! which CPUs hand tasks to each other ([`handoff`]), look up descriptors ([`lookup`]) and fill
//! page tables ([`gate`]). The same source runs in the kernel, in host tests and under the loom model checker.
//!
//! Reading order: [`task`] and [`cpu`] (what the protocol keeps for a task and a CPU),
//! [`switch`] (the four arms of a context switch), [`lazy_tlb`] (the policies), [`mm`]
//! (lifetimes), [`sites`] (exit, exec, `kthread_use_mm`), [`mm::flush`], [`ipi`] and
//! [`hotplug`]. Two words occur from the first file on: a [`PreemptOff`] or
//! [`machine::IrqsOff`] token, which many functions take, proves that preemption or
//! interrupts are off; an [`MmId`] names an address space.
//!
//! The protocol has two seams: [`machine`], its one type parameter, and
//! [`lazy_tlb::policy`].
#![cfg_attr(not(any(loom, test, feature = "model")), no_std)]
// Not forbidden: a contract that is declared (`machine`) counts as unsafe code.
#![deny(unsafe_code)]

extern crate alloc;

use alloc::boxed::Box;

use cpu::{CpuId, CpuMask, CpuSet, CpuState};
use lazy_tlb::Policy;
use machine::{Machine, PreemptOff};
use mm::{Mm, MmId, slots::Slots, zombies::Zombies};
use sync::SpinLock;

/// An invariant of the protocol: an assertion in builds with `checks`, nothing
/// otherwise. The message names the invariant.
macro_rules! invariant {
    ($cond:expr, $($message:tt)+) => {
        if cfg!(any(feature = "checks", loom, test)) {
            assert!($cond, $($message)+);
        }
    };
}

pub mod counters;
pub mod cpu;
mod cpuset;
pub mod event;
pub mod gate;
pub mod handoff;
pub mod hotplug;
pub mod ipi;
pub mod lazy_tlb;
#[cfg(any(loom, test, feature = "checks"))]
pub mod ledger;
pub mod lookup;
pub mod machine;
pub mod membarrier;
pub mod mm;
#[cfg(any(loom, test, feature = "model"))]
pub mod model;
mod recorded;
pub mod sites;
pub mod switch;
pub mod sync;
pub mod task;

/// What is chosen at boot and never changes.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// How a borrowed address space is kept alive, or its borrowers are sent away.
    pub policy: Policy,
    /// Flush other CPUs by IPI and `tlbiel` instead of a broadcast `tlbie`.
    pub global_by_ipi: bool,
    /// A CPU trims a cpumask at every `trim_period`th flush that may trim one. Not 0.
    /// Linux's value is 1073; 3 makes a stress test.
    pub trim_period: u32,
    /// When an mm dies, send no IPI to a CPU of its mask that is seen to have another mm
    /// loaded.
    pub filter_lazies: bool,
    /// Under shootdown, evict the CPUs in the mask before an exit's final flush (Linux
    /// 6.6). Without it the last drop shoots them, as in the series.
    pub exit_kick: bool,
    /// After each cleanup of a dying mm, ask every CPU whether it still has that mm
    /// loaded.
    pub debug_shoot_lazies: bool,
    /// So many milliseconds after it found an mm borrowed an idle CPU leaves that mm, if the
    /// policy says that it does.
    pub idle_limit_ms: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            policy: Policy::Shootdown,
            global_by_ipi: false,
            trim_period: Self::TRIM_PERIOD,
            filter_lazies: false,
            exit_kick: true,
            debug_shoot_lazies: false,
            idle_limit_ms: 100,
        }
    }
}

impl Config {
    /// Linux's period of the trim clock.
    pub const TRIM_PERIOD: u32 = 1073;
}

/// The protocol's state: every CPU, every address space. One value per machine: the
/// kernel has it in a static, a model makes one per execution.
pub struct LazyTlb<M> {
    /// The machine under the protocol.
    pub machine: M,
    config: Config,
    cpus: Box<[CpuState]>,
    mms: Box<[Mm]>,
    slots: SpinLock<Slots>,
    online: CpuMask,
    zombies: Zombies,
}

impl<M: Machine> LazyTlb<M> {
    /// The state of a machine with `nr_cpus` CPUs, all still offline, and room
    /// for `nr_mms` address spaces, `init_mm` included.
    pub fn new(machine: M, config: Config, nr_cpus: usize, nr_mms: usize) -> Self {
        assert!(nr_cpus <= cpu::MAX_CPUS, "more CPUs than a mask can name");
        let slots_in_all = MmId::slots_for(nr_mms);
        Self {
            machine,
            config,
            cpus: (0..nr_cpus).map(|_| CpuState::default()).collect(),
            mms: (0..slots_in_all).map(Mm::at_slot).collect(),
            slots: SpinLock::new(Slots::new(slots_in_all)),
            online: CpuMask::default(),
            zombies: Zombies::default(),
        }
    }

    /// What was chosen at boot.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// How many CPUs the machine has, online or not.
    pub fn nr_cpus(&self) -> usize {
        self.cpus.len()
    }

    /// The state of `cpu`.
    pub fn cpu(&self, cpu: CpuId) -> &CpuState {
        &self.cpus[cpu.index()]
    }

    /// All CPUs' states, for debuggers and reports.
    pub fn cpus(&self) -> &[CpuState] {
        &self.cpus
    }

    /// All address-space slots, for debuggers and reports.
    pub fn mms(&self) -> &[Mm] {
        &self.mms
    }

    /// Of the mms without users.
    pub fn zombies(&self) -> &Zombies {
        &self.zombies
    }

    /// The CPUs that take part in the protocol.
    pub fn online(&self) -> CpuSet {
        // F17 acquire: orders the bit before the use of the CPU's state. Partner:
        // `start_cpu`. F18 acquire: orders the cleared bit before the reuse of what the
        // caller frees. Partner: `stop_cpu`.
        self.online.observe(self.nr_cpus())
    }

    /// Whether `cpu` is one of them. Orders like [`LazyTlb::online`].
    pub(crate) fn is_online(&self, cpu: CpuId) -> bool {
        self.online.observe_one(cpu)
    }

    /// The state of the CPU that `t` proves we are on.
    fn this_cpu(&self, t: &PreemptOff) -> &CpuState {
        self.cpu(t.cpu())
    }
}
