//! Interrupts.
//!
//! An IPI lands where interrupts come back on, at every [`Probe::point`] and in every
//! turn of a wait. Whether it was sent before or after a CPU passes there is the order of
//! two accesses to one atomic, so loom tries both. An IPI that is long on its way is
//! modelled as one that is sent late.
//!
//! [`Probe::point`]: crate::machine::Probe::point

use std::sync::atomic as native;

use super::Model;
use super::seat::Context;
use crate::cpu::CpuId;
use crate::sync::Ordering;

impl Model {
    /// Takes this CPU's pending interrupt, if it has arrived.
    pub(super) fn take_irq(&self) {
        let Context { cpu, irqs_off, .. } = self.context();
        let deaf = self.deaf.load(native::Ordering::Relaxed) >> cpu.index() & 1 != 0;
        if irqs_off > 0 || deaf {
            return;
        }
        let ipi = &self.cpus[cpu.index()].ipi;
        // Acquire: with the release in `send_ipi`, what the trait promises.
        let arrived = ipi.swap(0, Ordering::Acquire) != 0;
        if arrived || self.spurious_irqs.load(native::Ordering::Relaxed) {
            let lazy_tlb = self.lazy_tlb();
            self.in_irqs_off(|t| {
                lazy_tlb.interrupted(t);
            });
        }
    }

    /// Runs the interrupt handler of `cpu`, if that CPU idles, or waits at a point for
    /// this very thread.
    pub(super) fn answer_for(&self, cpu: CpuId) {
        if self.is_interruptible_as(cpu) {
            self.acting_as(cpu, false, || self.take_irq());
        } else if self.take_seat(cpu) {
            self.acting_as(cpu, true, || self.take_irq());
        }
    }
}
