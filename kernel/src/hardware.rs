//! The machine's part of the protocol: the instructions of powerpc64, the tasks and memory of this
//! kernel.

use core::ops::Range;
use core::sync::atomic::{Ordering, fence};

use arch::addr::PAGE_SIZE;
use arch::encoding::PageSize;
use arch::encoding::tlb_operand::Ric;
use arch::irq::{self, InterruptController};
use arch::{irqflags, isa, percpu, timer, tlb};
use kcore::cpu::CpuId;
use kcore::event::{Event, Reference, Stamp};
use kcore::machine::{Cpu, Host, IrqsOff, Mmu, Point, PreemptOff, Probe};
use kcore::mm::flush::FlushRange;
use kcore::mm::{MmId, Pid};
use kcore::task::TaskMm;
use trace_format::Kind;

use crate::machine::{self, Hardware};
use crate::sync::preempt;
use crate::task::{current, current_mm, ipi_target_of};
use crate::{limits, mm, oracle, println, trace};

/// Turns of a wait for other CPUs between two pauses, and before the first. CPUs with a processor of
/// their own answer soon; those that share ours cannot before the first pause.
const TURNS_PER_PAUSE: u64 = 64;
const TURNS_UNPAUSED: u64 = 4;

// SAFETY: each section makes its token true and lends it; `send_ipi` begins with a `sync`.
unsafe impl Cpu for Hardware {
    #[inline(always)]
    fn with_preempt_off<R>(&self, f: impl FnOnce(&PreemptOff) -> R) -> R {
        let _guard = preempt::disable();
        // SAFETY: preemption is off until the guard goes, after `f`.
        f(&unsafe { PreemptOff::new(percpu::cpu_id()) })
    }

    fn with_irqs_off<R>(&self, f: impl FnOnce(&IrqsOff) -> R) -> R {
        irqflags::disable().lend(f)
    }

    fn irqs_enabled(&self) -> bool {
        irqflags::are_enabled()
    }

    fn send_ipi(&self, _: &PreemptOff, cpu: CpuId) {
        irq::controller().send_ipi(ipi_target_of(cpu));
    }

    fn relax(&self, turn: u64) {
        // Interrupts are on: calls of other CPUs are served meanwhile. Where virtual CPUs share a
        // host CPU, the hint hands it to the CPU that we wait for. The hint is rare, since it costs
        // QEMU a lock.
        if turn % TURNS_PER_PAUSE == TURNS_UNPAUSED {
            isa::relax();
        }
    }
}

// SAFETY: a flush is `ptesync`, the invalidations, and the instructions that wait for them; the
// rest is one register and one entry of the process table.
unsafe impl Mmu for Hardware {
    const BROADCASTS: bool = true;

    fn load_mm(&self, _: &IrqsOff, mm: MmId) {
        // SAFETY: interrupts are off, and the trait's caller keeps mm_cpumask and active_mm in
        // step with the loads.
        unsafe { arch::mmu::load_pid(mm.pid()) };
    }

    fn loaded_pid(&self, _: &IrqsOff) -> Pid {
        arch::mmu::loaded_pid()
    }

    fn order_mask_before_walks(&self, _: &IrqsOff) {
        // F1 fence: orders the bit before the loads of a table walk. Partner: `flush`. `sync` orders
        // earlier stores before those loads, as before other loads.
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
        oracle::cpu_flushed(t);
    }

    fn disconnect(&self, mm: MmId) {
        mm::disconnect(mm);
    }
}

// SAFETY: `current_mm` reads what the switch has set; each mm has its own tables.
unsafe impl Host for Hardware {
    fn current<'a>(&'a self, t: &'a PreemptOff) -> &'a TaskMm {
        current_mm(t)
    }

    fn free_user_memory(&self, mm: MmId) {
        mm::free_user_memory(mm);
    }

    fn free_mm(&self, mm: MmId) {
        mm::free_mm(mm);
    }

    fn machine_call(&self, _: &IrqsOff, caller: u64, arg: u64) {
        machine::called_by(caller as usize)(arg);
    }

    fn ticks(&self) -> u64 {
        timer::now_tb()
    }

    fn uptime_ms(&self) -> u64 {
        timer::now_tb() / (timer::ticks_per_us() * 1000)
    }

    fn call_limit_ms(&self) -> u64 {
        limits::call_ms()
    }

    fn report_silent(&self, cpu: CpuId, waited_ms: u64) {
        println!("ipi: {cpu} has not answered {} for {waited_ms} ms", percpu::cpu_id());
    }
}

impl Probe for Hardware {
    #[inline(always)]
    fn point(&self, point: Point) {
        #[cfg(feature = "selftest")]
        crate::upcalls::tests::reached(point);
        let _ = point;
    }

    #[inline(always)]
    fn refers(&self, mm: MmId, how: Reference) {
        let body = || how.body(mm, current().tid());
        match how.kind() {
            Kind::Users => trace::note!(Kind::Users, body()),
            _ => trace::note!(Kind::Count, body()),
        }
    }

    #[inline(always)]
    fn observe(&self, t: &PreemptOff, event: Event) -> Stamp {
        trace::observe(t, event);
        oracle::observe(t, event)
    }
}

/// The addresses of `pages` base pages from `start`.
fn bytes(start: u64, pages: u32) -> Range<u64> {
    start..start + u64::from(pages) * PAGE_SIZE
}
