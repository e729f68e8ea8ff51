//! Making a CPU look: at its run queue, at its work flag, at its time slice.

use core::sync::atomic::Ordering;

use kcore::machine::IrqsOff;
use powerpc64::irq::{self, InterruptController as _};
use powerpc64::irqflags;

use super::cpu::{self, Cpu};
use super::task::Task;
use crate::machine::lazy_tlb;

/// Has `cpu` schedule, soon. Any context; if it is this CPU, the caller's next
/// [`super::preempt::reschedule_if_asked`] or return from the interrupt does it.
pub(super) fn resched(cpu: &Cpu) {
    cpu.need_resched.store(true, Ordering::Relaxed);
    cpu.area.set_work();
    interrupt(cpu);
}

/// Has `task` pass the exit to user mode if it runs there. Any context.
pub(super) fn kick(task: &Task) {
    // A task that moves meanwhile finds its pending bits in the switch: the
    // barriers of `Task::notify` and `switch`.
    let cpu = cpu::get(task.cpu());
    cpu.area.set_work();
    interrupt(cpu);
}

/// Has `cpu`, whose running task was alone until now, time its slice.
pub(super) fn time_slice(cpu: &Cpu) {
    let irqs_were_on = irqflags::disable();
    if cpu.id == cpu::this().id {
        cpu.clock.time_slice();
    } else {
        interrupt(cpu);
    }
    irqflags::restore(irqs_were_on);
}

/// Interrupts `cpu` unless it is the one we are on. What was stored before is
/// seen by its handler: `send_ipi` has the barrier.
fn interrupt(cpu: &Cpu) {
    // Off, or we might move between the question and the answer.
    let irqs_were_on = irqflags::disable();
    let me = cpu::this().id;
    if cpu.id != me {
        lazy_tlb().cpu(me).counters.ipi_sent_resched.bump();
        irq::controller().send_ipi(cpu.area.server());
    }
    irqflags::restore(irqs_were_on);
}

/// An IPI arrived: the scheduler's part. What it asks beyond this is in flags that
/// the return from the interrupt looks at. From the handler, interrupts off.
pub(crate) fn handle_ipi(_: &IrqsOff) {
    if let Some(cpu) = cpu::try_this() {
        cpu.clock.time_slice_if_contended(cpu);
    }
}
