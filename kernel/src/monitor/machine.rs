//! The address spaces that every CPU has, each read at an instant without a switch.
//!
//! The PID register of a CPU is visible to that CPU only, so each is called and adds its own
//! line, with interrupts off. This costs one `ipi_sent_call` per CPU in the report and changes no
//! CPU's address space.

use alloc::vec::Vec;

use kcore::cpu::CpuId;
use kcore::machine::Cpu;
use kcore::mm::MmId;

use crate::machine::{call_function, lazy_tlb};
use crate::sync::IrqLock;
use crate::task::{self, TaskName};

/// A CPU's answer.
pub(super) struct Seen {
    /// The CPU.
    pub(super) cpu: CpuId,
    /// The number of the task that runs there, 0 for the idle one.
    pub(super) tid: u32,
    /// The task's name.
    pub(super) name: TaskName,
    /// `current.mm`.
    pub(super) mm: MmId,
    /// What the CPU has loaded.
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

    /// The CPU's use of its address space, or the error found.
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

/// The CPUs' answers. [`look`] makes room for all of them.
static SEEN: IrqLock<Vec<Seen>> = IrqLock::new("what CPUs have", Vec::new());

/// Adds the answer of the CPU that runs this.
fn tell(_: u64) {
    // Interrupts are off from here on, so that the CPU does not switch.
    let mut seen = SEEN.lock();
    let (task, cpu) = (task::current(), arch::percpu::cpu_id());
    let active_mm = lazy_tlb().cpu(cpu).active_mm.peek();
    seen.push(Seen {
        cpu,
        tid: task.tid(),
        name: task.name(),
        mm: task.mm.mm(),
        active_mm,
        pidr: arch::mmu::loaded_pid().get(),
        in_mask: active_mm.is_some() && lazy_tlb().mms()[active_mm.slot()].cpumask().test(cpu),
    });
}

/// Asks all online CPUs. The answers are in the order of their numbers. Interrupts and preemption
/// on.
pub(super) fn look() -> Vec<Seen> {
    let kernel = lazy_tlb();
    let room = Vec::with_capacity(kernel.nr_cpus());
    *SEEN.lock() = room;
    kernel.machine.with_preempt_off(|t| {
        call_function(t, &kernel.online().without(t.cpu()), tell, 0);
        tell(0);
    });
    let mut seen = core::mem::take(&mut *SEEN.lock());
    seen.sort_unstable_by_key(|one| one.cpu.index());
    seen
}
