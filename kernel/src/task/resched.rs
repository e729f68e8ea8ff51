//! Making a CPU look: at its run queue, at its task's pending bits, at its time slice.
//!
//! The request is a flag that stays until it is answered; the interrupt makes the CPU look at it.
//! The work flag, which every way out of the kernel tests, is written by its own CPU only: the
//! handler sets it, so no CPU can clear it while another sets it.

use arch::irq::{self, InterruptController as _};
use arch::irqflags;
use kcore::machine::IrqsOff;
use trace_format::{Body, Kind};

use super::cpu::{self, Cpu};
use super::descriptor::Task;
use super::watchdog;
use super::window::Window;
use crate::machine::lazy_tlb;
use crate::trace;

/// Has `cpu` schedule, soon. Any context; if it is this CPU, the caller's next
/// [`super::preempt::reschedule_if_allowed`] or return from the interrupt does it.
pub(super) fn resched(cpu: &Cpu) {
    irqflags::disable().lend(|off| resched_with(cpu, cpu::this(), off));
}

/// As [`resched`], where interrupts are off, on the CPU `me`.
#[inline]
pub(super) fn resched_with(cpu: &Cpu, me: &Cpu, off: &IrqsOff) {
    cpu.need_resched.make();
    poke(cpu, me, off);
}

/// Has `task` pass the exit to user mode if it runs there. Any context.
pub(super) fn kick(task: &Task) {
    // A task that moves meanwhile finds its pending bits in the switch, by the barriers of
    // `Task::notify` and `switch`.
    irqflags::disable().lend(|off| poke(cpu::get(task.cpu()), cpu::this(), off));
}

/// Has `cpu` run [`look`]; by the CPU `me`. `send_ipi` has the barrier that orders our earlier stores
/// before the interrupt.
pub(super) fn poke(cpu: &Cpu, me: &Cpu, _: &IrqsOff) {
    if cpu.id == me.id {
        look(me);
    } else {
        watchdog::expect_answer(me, cpu);
        lazy_tlb().cpu(me.id).counters.ipi_sent_resched.bump();
        trace::note!(Kind::Resched, Body { other: cpu.id.index() as u32, ..Body::new(Kind::Resched) });
        irq::controller().send_ipi(cpu.ipi_target);
    }
}

/// Looks at all that may have been requested of this CPU. Interrupts off.
#[inline]
fn look(cpu: &Cpu) {
    Window::Looks.pass_here();
    if cpu.need_resched.is_made() || super::current().interrupted() {
        cpu.area.set_work();
    }
    cpu.clock.time_slice_if_contended(cpu);
}

/// An IPI arrived: the scheduler's part. From the handler, interrupts off.
pub(crate) fn handle_ipi(_: &IrqsOff) {
    // None before `task::init`: nothing is requested yet.
    if let Some(cpu) = cpu::try_this() {
        cpu.watch.answer();
        look(cpu);
    }
}
