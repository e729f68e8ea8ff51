//! What a CPU does when nothing is to be done: it borrows an address space and
//! sleeps in the hypervisor.
//!
//! ```text
//! idle CPU                            placement::queue
//! IDLE |= me                          push to the queue
//! full barrier                        full barrier
//! queue empty? cede                   in IDLE? take it out, interrupt
//! ```
//! Interrupts are off from the look at the queue until H_CEDE, which returns at
//! once if one is pending: no wake-up is lost.

use core::sync::atomic::{Ordering, fence};

use arch::{idle, irqflags};
use kcore::machine::IrqsOff;

use super::cpu::{self, Cpu};
use super::cpu_bits::CpuBits;
use super::offline;
use super::switch::{Leave, schedule};
use super::window::Window;

/// The CPUs that run their idle task and that no waker has claimed yet. Inserted
/// by the CPU itself, each time it chooses its idle task; taken out by wakers.
pub(super) static IDLE: CpuBits = CpuBits::empty();

/// The boot's context is an idle task from here on. Interrupts on.
#[inline(never)]
pub(crate) fn idle_for_ever() -> ! {
    irqflags::disable().lend_mut(|off| idle_loop(off))
}

/// The rest of an idle task's life; by this name in the backtraces of idle CPUs.
#[inline(never)]
pub(super) fn idle_loop(off: &mut IrqsOff) -> ! {
    // The boot's context becomes an idle task without having been chosen.
    IDLE.insert(cpu::this().id);
    loop {
        let cpu = cpu::this();
        // Partner: the fence in `placement::queue` (see above).
        fence(Ordering::SeqCst);
        if has_work(cpu) {
            schedule(Leave::Yield, off);
        } else if cpu.departure.is_due() {
            offline::depart(cpu, off);
        } else {
            Window::Cedes.pass(cpu.idle());
            // The interrupt that ends it may run other tasks before it returns.
            idle::cede(off);
        }
    }
}

/// Whether a CPU has come to its idle loop and no waker has claimed it.
#[cfg(feature = "selftest")]
pub(crate) fn is_idle(cpu: kcore::cpu::CpuId) -> bool {
    IDLE.contains(cpu)
}

fn has_work(cpu: &Cpu) -> bool {
    cpu.need_resched.is_made() || cpu.queue.len() != 0
}
