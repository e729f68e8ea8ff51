//! What every CPU has, each asked at an instant at which it does not switch.
//!
//! The PID register of a CPU is visible to that CPU only, so each is called and
//! fills in its own line, with interrupts off. That is one `ipi_sent_call` a CPU in
//! the report; it changes nobody's address space.

use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use arch::irqflags;
use kcore::cpu::CpuId;
use kcore::machine::Machine;
use kcore::mm::MmId;

use crate::machine::{call_function, lazy_tlb};
use crate::task::{self, TaskName};

/// What a CPU says of itself.
pub(super) struct Seen {
    /// Which.
    pub(super) cpu: CpuId,
    /// The number of the task that runs there, 0 for the idle one.
    pub(super) tid: u32,
    /// Its name.
    pub(super) name: TaskName,
    /// `current.mm`.
    pub(super) mm: MmId,
    /// `current.active_mm`.
    pub(super) active_mm: MmId,
    /// The PID register.
    pub(super) pidr: u32,
    /// Whether the CPU is in the mask of `active_mm`.
    pub(super) in_mask: bool,
}

impl Seen {
    /// Whether the CPU borrows `active_mm`. Running on `init_mm` is no borrow.
    pub(super) fn is_lazy(&self) -> bool {
        self.mm.is_none() && self.active_mm != MmId::INIT_MM
    }

    /// What the CPU does with its address space, or what is wrong.
    pub(super) fn verdict(&self) -> &'static str {
        if self.pidr != self.active_mm.pid().get() {
            "WRONG: PIDR is not active_mm's"
        } else if self.mm.is_some() && self.mm != self.active_mm {
            "WRONG: mm is not active_mm"
        } else if self.active_mm == MmId::INIT_MM {
            "kernel, on init_mm"
        } else if !self.in_mask {
            "WRONG: not in mm_cpumask"
        } else if self.mm.is_none() {
            "lazy, borrows active_mm"
        } else {
            "user"
        }
    }
}

/// A line that a CPU fills in.
#[derive(Default)]
struct Slot {
    filled: AtomicU32,
    tid: AtomicU32,
    name: [AtomicU64; 2],
    mm: AtomicU64,
    active_mm: AtomicU64,
    pidr: AtomicU32,
    in_mask: AtomicU32,
}

impl Slot {
    /// Of the CPU that runs this. Interrupts off.
    fn fill(&self) {
        let task = task::current();
        let cpu = arch::percpu::cpu_id();
        let active_mm = task.mm.active_mm();
        let masked = active_mm.is_some() && lazy_tlb().mms()[active_mm.slot()].cpumask().test(cpu);
        self.tid.store(task.tid(), Ordering::Relaxed);
        for (to, from) in self.name.iter().zip(&task.name) {
            to.store(from.load(Ordering::Relaxed), Ordering::Relaxed);
        }
        self.mm.store(task.mm.mm().to_bits(), Ordering::Relaxed);
        self.active_mm.store(active_mm.to_bits(), Ordering::Relaxed);
        self.pidr.store(arch::mmu::loaded_pid().get(), Ordering::Relaxed);
        self.in_mask.store(masked.into(), Ordering::Relaxed);
        // The end of the call orders all of it before the caller's look.
        self.filled.store(1, Ordering::Relaxed);
    }

    fn seen(&self, cpu: CpuId) -> Option<Seen> {
        let mm = |bits: &AtomicU64| MmId::from_bits(bits.load(Ordering::Relaxed));
        (self.filled.load(Ordering::Relaxed) != 0).then(|| Seen {
            cpu,
            tid: self.tid.load(Ordering::Relaxed),
            name: TaskName::of_words([0, 1].map(|i: usize| self.name[i].load(Ordering::Relaxed))),
            mm: mm(&self.mm),
            active_mm: mm(&self.active_mm),
            pidr: self.pidr.load(Ordering::Relaxed),
            in_mask: self.in_mask.load(Ordering::Relaxed) != 0,
        })
    }
}

/// Called on each CPU, with the address of the first slot.
fn fill_own(slots: u64) {
    let first: *const Slot = core::ptr::with_exposed_provenance(slots as usize);
    let own = arch::percpu::cpu_id().index();
    // SAFETY: `look` gives the first of as many slots as there are CPUs, and keeps
    // them until all calls are done.
    unsafe { (*first.add(own)).fill() };
}

/// Asks all CPUs that are online. Interrupts and preemption on.
pub(super) fn look() -> Vec<Seen> {
    let kernel = lazy_tlb();
    let slots: Vec<Slot> = (0..kernel.nr_cpus()).map(|_| Slot::default()).collect();
    let first = slots.as_ptr().expose_provenance() as u64;
    kernel.machine.with_preempt_off(|t| {
        call_function(t, &kernel.online().without(t.cpu()), fill_own, first);
        let _off = irqflags::disable();
        fill_own(first);
    });
    slots.iter().enumerate().filter_map(|(n, slot)| slot.seen(CpuId::new(n))).collect()
}
