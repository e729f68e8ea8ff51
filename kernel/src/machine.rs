//! The kernel's side of the protocol's first seam: the real machine.

use alloc::boxed::Box;
use core::ops::Range;
use core::sync::atomic::{Ordering, fence};

use arch::addr::PAGE_SIZE;
use arch::encoding::PageSize;
use arch::encoding::tlb_operand::Ric;
use arch::irq::{self, InterruptController};
use arch::{irqflags, isa, percpu, timer, tlb};
use kcore::cpu::{CpuId, CpuSet};
use kcore::event::{Event, Stamp};
use kcore::ipi::Call;
use kcore::machine::{Cpu, Host, IrqsOff, Mmu, Point, PreemptOff, Probe};
use kcore::mm::flush::FlushRange;
use kcore::mm::{MmId, Pid};
use kcore::task::TaskMm;
use kcore::{Config, LazyTlb};

use crate::sync::{Fixed, IrqLock, preempt};
use crate::task::current_mm;

/// The protocol's state. Written once at boot, before any other CPU starts.
static LAZY_TLB: Fixed<LazyTlb<Hardware>> = Fixed::unset();

/// What each CPU has others run by [`call_function`]; its own until all have answered.
static CALLED: Fixed<Box<[IrqLock<Called>]>> = Fixed::unset();
type Called = fn(u64);

/// How many address spaces there may be at a time, `init_mm` included.
pub(crate) const NR_MMS: usize = 2048;

/// Turns of a wait for other CPUs between two pauses: they answer soon where each
/// has a processor of its own.
const TURNS_PER_PAUSE: u64 = 64;

/// The protocol, on this machine.
pub(crate) fn lazy_tlb() -> &'static LazyTlb<Hardware> {
    LAZY_TLB.get()
}

/// As [`lazy_tlb`], or none early in the boot.
pub(crate) fn lazy_tlb_if_ready() -> Option<&'static LazyTlb<Hardware>> {
    LAZY_TLB.try_get()
}

/// Makes the protocol's state; once, on the boot CPU, heap up.
pub(crate) fn init(config: Config, nr_cpus: usize) {
    // SAFETY: the boot CPU is alone.
    unsafe {
        LAZY_TLB.set(LazyTlb::new(Hardware, config, nr_cpus, NR_MMS));
        CALLED.set((0..nr_cpus).map(|_| IrqLock::new("a call", drop as Called)).collect());
    }
}

/// This machine: the instructions of powerpc64, the tasks and memory of this
/// kernel.
pub(crate) struct Hardware;

// SAFETY: each section makes its token true and lends it; `send_ipi` begins with a `sync`.
unsafe impl Cpu for Hardware {
    fn with_preempt_off<R>(&self, f: impl FnOnce(&PreemptOff) -> R) -> R {
        let _guard = preempt::disable();
        // SAFETY: preemption is off until the guard goes, which is behind `f`.
        f(&unsafe { PreemptOff::new(percpu::cpu_id()) })
    }

    fn with_irqs_off<R>(&self, f: impl FnOnce(&IrqsOff) -> R) -> R {
        irqflags::disable().lend(f)
    }

    fn irqs_enabled(&self) -> bool {
        irqflags::are_enabled()
    }

    fn send_ipi(&self, _: &PreemptOff, cpu: CpuId) {
        irq::controller().send_ipi(crate::task::server_of(cpu));
    }

    fn relax(&self, turn: u64) {
        // Interrupts are on: calls of other CPUs are served meanwhile. Now and then
        // the hint hands the host's CPU to the one that we wait for, where several
        // virtual CPUs share it; each time it costs QEMU a lock.
        if turn % TURNS_PER_PAUSE == TURNS_PER_PAUSE - 1 {
            isa::relax();
        }
    }
}

// SAFETY: a flush is `ptesync`, the invalidations, and what waits for them; the rest is
// one register and one entry of the process table.
unsafe impl Mmu for Hardware {
    const BROADCASTS: bool = true;

    fn load_mm(&self, _: &IrqsOff, mm: MmId) {
        // SAFETY: interrupts are off, and who has what loaded is this trait's
        // caller's business: it keeps mm_cpumask and active_mm.
        unsafe { arch::mmu::load_pid(mm.pid()) };
    }

    fn loaded_pid(&self, _: &IrqsOff) -> Pid {
        arch::mmu::loaded_pid()
    }

    fn order_mask_before_walks(&self, _: &IrqsOff) {
        // `sync`: the loads of a table walk come after it, as other loads do.
        fence(Ordering::SeqCst);
    }

    fn flush_local(&self, _: &PreemptOff, mm: MmId, what: FlushRange) {
        match what {
            FlushRange::Pages { start, pages } => {
                tlb::flush_range_local(mm.pid(), bytes(start, pages), PageSize::Size4K);
            }
            FlushRange::Translations => tlb::flush_pid_local(mm.pid(), Ric::Tlb),
            FlushRange::Everything => tlb::flush_pid_local(mm.pid(), Ric::All),
        }
    }

    fn flush_global(&self, _: &PreemptOff, mm: MmId, what: FlushRange) {
        match what {
            FlushRange::Pages { start, pages } => {
                tlb::flush_range_broadcast(mm.pid(), bytes(start, pages), PageSize::Size4K);
            }
            FlushRange::Translations => tlb::flush_pid_broadcast(mm.pid(), Ric::Tlb),
            FlushRange::Everything => tlb::flush_pid_broadcast(mm.pid(), Ric::All),
        }
    }

    fn flush_cpu(&self, t: &IrqsOff) {
        tlb::flush_all_local();
        crate::oracle::cpu_flushed(t);
    }

    fn disconnect(&self, mm: MmId) {
        crate::mm::disconnect(mm);
    }
}

// SAFETY: `current_mm` reads what the switch has set; each mm has its own tables.
unsafe impl Host for Hardware {
    fn current<'a>(&'a self, t: &'a PreemptOff) -> &'a TaskMm {
        current_mm(t)
    }

    fn free_user_memory(&self, mm: MmId) {
        crate::mm::free_user_memory(mm);
    }

    fn free_mm(&self, mm: MmId) {
        crate::mm::free_mm(mm);
    }

    fn machine_call(&self, _: &IrqsOff, caller: u64, arg: u64) {
        // The lock is free again before the call.
        let function = *CALLED[caller as usize].lock();
        function(arg);
    }

    fn uptime_ms(&self) -> u64 {
        timer::now_tb() / (timer::ticks_per_us() * 1000)
    }

    fn call_limit_ms(&self) -> u64 {
        crate::limits::call_ms()
    }

    fn report_silent(&self, cpu: CpuId, waited_ms: u64) {
        crate::println!("ipi: {cpu} has not answered {} for {waited_ms} ms", percpu::cpu_id());
    }
}

impl Probe for Hardware {
    #[inline(always)]
    fn point(&self, point: Point) {
        #[cfg(feature = "selftest")]
        crate::selftest::points::reached(point);
        let _ = point;
    }

    #[inline(always)]
    fn observe(&self, t: &PreemptOff, event: Event) -> Stamp {
        crate::oracle::observe(t, event)
    }
}

/// The addresses of `pages` base pages from `start`.
fn bytes(start: u64, pages: u32) -> Range<u64> {
    start..start + u64::from(pages) * PAGE_SIZE
}

/// Runs `function(arg)` on each of `targets` (online, not this CPU), with
/// interrupts off there, and waits. Interrupts on, preemption off here.
pub(crate) fn call_function(t: &PreemptOff, targets: &CpuSet, function: fn(u64), arg: u64) {
    let caller = t.cpu().index();
    *CALLED[caller].lock() = function;
    lazy_tlb().call_on_mask(t, targets, Call::Machine(caller as u64, arg));
}
