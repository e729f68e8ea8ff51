//! The idle CPU: it borrows an address space and sleeps in the hypervisor.
//!
//! ```text
//! idle CPU                            placement::queue
//! flag = idle                         push to the queue
//! full barrier                        full barrier
//! queue empty? cede                   flag idle? claim it, interrupt
//! ```
//! Interrupts are off from the look at the queue until H_CEDE, which returns at
//! once if one is pending: no wake-up is lost.
//!
//! A CPU that sleeps passes nothing. Under a policy that needs it to let go of what it borrows, a
//! timer wakes it at the latest when it is to do that.

#[cfg(feature = "selftest")]
use core::sync::atomic::AtomicU32;
use core::sync::atomic::{AtomicBool, Ordering, fence};

use arch::{idle, irqflags, timer};
use kcore::event::Why;
use kcore::machine::IrqsOff;
use kcore::mm::MmId;

use super::cpu::{self, Cpu};
use super::offline;
use super::switch::{Leave, schedule};
use super::window::Window;
use crate::machine::lazy_tlb;
use crate::sync::preempt;

/// Whether a CPU runs its idle task and no waker has claimed it. Lies in the CPU's own
/// entry, so that going in and out of idle writes no line that all CPUs write. Relaxed: a
/// hint that the run-queue lock confirms.
pub(super) struct IdleFlag(AtomicBool);

impl IdleFlag {
    pub(super) const fn new() -> Self {
        Self(AtomicBool::new(false))
    }

    /// This CPU has chosen its idle task.
    #[inline]
    pub(super) fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether the CPU idles, unclaimed.
    #[inline]
    pub(super) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Claims the CPU; whether it was idle and unclaimed. A plain load if it was not.
    #[inline]
    pub(super) fn claim(&self) -> bool {
        self.is_set() && self.0.swap(false, Ordering::Relaxed)
    }
}

/// The boot's context is an idle task from here on. Interrupts on.
#[inline(never)]
pub(crate) fn idle_for_ever() -> ! {
    irqflags::disable().lend_mut(|off| idle_loop(off))
}

/// The rest of an idle task's life; by this name in the backtraces of idle CPUs.
#[inline(never)]
pub(super) fn idle_loop(off: &mut IrqsOff) -> ! {
    // The boot's context becomes an idle task without having been chosen.
    cpu::this().idle_flag.set();
    loop {
        let cpu = cpu::this();
        // F30 fence: orders the flag before the look at the queue. Partner: `queue`.
        fence(Ordering::SeqCst);
        if has_work(cpu) {
            schedule(Leave::Yield, off);
        } else if cpu.departure.is_due() {
            offline::depart(cpu, off);
        } else if is_to_let_go(cpu) {
            // A reference may go with it.
            preempt::without(|| irqflags::enabled_while(off, || lazy_tlb().leave_idle(Why::Idle)));
        } else {
            Window::Cedes.pass(cpu.idle());
            // The interrupt that ends it may run other tasks before it returns.
            idle::cede(off);
        }
    }
}

/// Whether this CPU is to leave what it borrows before it sleeps on. If it is to do that later, a
/// timer is set. The limit counts from the moment when the idle task first found the mm there:
/// kernel threads that run in between hand the borrow on.
#[inline]
fn is_to_let_go(cpu: &Cpu) -> bool {
    let lazy_tlb = lazy_tlb();
    if !lazy_tlb.lets_idle_go() {
        return false;
    }
    let mm = lazy_tlb.cpu(cpu.id).active_mm.peek();
    if mm == MmId::INIT_MM {
        return false;
    }
    let limit_us = lazy_tlb.config().idle_limit_ms * 1000;
    let now_tb = timer::now_tb();
    let deadline_tb = cpu.clock.borrowed_since_tb(mm, now_tb) + limit_us * timer::ticks_per_us();
    if now_tb >= deadline_tb {
        cpu.clock.borrowed_since_tb(MmId::NONE, now_tb);
        #[cfg(feature = "selftest")]
        if cpu.clock.rang_tb.load(Ordering::Relaxed) == deadline_tb {
            WOKEN_TO_LET_GO.fetch_add(1, Ordering::Relaxed);
        }
        return true;
    }
    cpu.clock.arm(deadline_tb);
    false
}

/// How many idle CPUs have let go because the timer woke them that they had set for it.
#[cfg(feature = "selftest")]
pub(crate) static WOKEN_TO_LET_GO: AtomicU32 = AtomicU32::new(0);

/// Whether a CPU idles and no waker has claimed it.
#[cfg(feature = "selftest")]
pub(crate) fn is_idle(cpu: kcore::cpu::CpuId) -> bool {
    cpu::get(cpu).idle_flag.is_set()
}

fn has_work(cpu: &Cpu) -> bool {
    cpu.need_resched.is_made() || cpu.queue.len() != 0
}
