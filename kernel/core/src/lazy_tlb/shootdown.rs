//! Shootdown: count nothing, and shoot the borrowers when the mm dies.
//!
//! The mask holds every borrower (I4), so a waited IPI to all of it misses no CPU:
//! docs/lazy-tlb.md#why-no-stale-active_mm-can-exist.

use super::policy::{Free, Operations};
use crate::LazyTlb;
use crate::cpu::CpuSet;
use crate::event::{Event, Why};
use crate::ipi::Call;
use crate::machine::{IrqsOff, Machine, PreemptOff};
use crate::mm::MmId;

pub(crate) enum Shootdown {}

impl Operations for Shootdown {
    /// All other CPUs in the mask. A lazy one must leave soon in any case, and each must
    /// flush: a CPU that is evicted does both, in one round of IPIs (Linux 6.6).
    fn evicted_at_exit<M: Machine>(lazy: &LazyTlb<M>, t: &PreemptOff, mm: MmId) -> CpuSet {
        if !lazy.config.exit_kick {
            return CpuSet::EMPTY;
        }
        // A CPU that is filtered out keeps its bit, so the flush that follows is global.
        lazy.filter_lazies(t, mm, lazy.online_in_mask(mm).without(t.cpu()))
    }

    fn last_drop<M: Machine>(lazy: &LazyTlb<M>, t: &PreemptOff, mm: MmId) -> Free {
        lazy.shoot_lazies(t, mm, lazy.online_in_mask(mm));
        Free::Now
    }
}

impl<M: Machine> LazyTlb<M> {
    /// Makes every CPU of `targets` leave `mm`. Interrupts on, preemption off.
    pub(super) fn shoot_lazies(&self, t: &PreemptOff, mm: MmId, targets: CpuSet) {
        // The CPU that drops an exit's last reference is usually lazy on the mm itself.
        // After the exit's eviction it is the only one: test it first.
        let leaves = |t: &IrqsOff| self.shoot_lazy_here(t, mm, Why::Shoot);
        if targets.contains(t.cpu()) && self.machine.with_irqs_off(leaves) {
            self.event(t, Event::ShotSelf(mm));
        }
        let others = self.filter_lazies(t, mm, targets.without(t.cpu()));
        self.event(t, Event::Shoot { mm, cpus: &others });
        self.call_on_mask(t, &others, Call::Shoot(mm));
    }

    /// If the filter is on, those of `targets` that are [`LazyTlb::still_on`] `mm`.
    pub(super) fn filter_lazies(&self, t: &PreemptOff, mm: MmId, targets: CpuSet) -> CpuSet {
        if self.config.filter_lazies { self.still_on(t, mm, targets) } else { targets }
    }

    /// Drops from `targets` the other CPUs that have another mm loaded, and reports each.
    /// Only for an mm that no CPU can enter any more: a CPU that is seen elsewhere does not
    /// come back.
    // Not inlined: without the filter nothing saves registers for it.
    #[inline(never)]
    pub(super) fn still_on(&self, t: &PreemptOff, mm: MmId, targets: CpuSet) -> CpuSet {
        let mut lazy = targets;
        for cpu in targets.without(t.cpu()).iter() {
            // F13 acquire: orders the name of another mm before the reuse of what we free.
            // Partner: `switch_mm`.
            if self.cpu(cpu).active_mm.observe() != mm {
                lazy.remove(cpu);
                self.event(t, Event::Filtered(mm, cpu));
            }
        }
        lazy
    }

    /// Linux's `DEBUG_VM_SHOOT_LAZIES`: asks every CPU, in its own context, whether
    /// it still has `mm`, which was just cleaned up.
    pub(crate) fn check_nobody_is_lazy(&self, t: &PreemptOff, mm: MmId) {
        self.machine.with_irqs_off(|t| self.assert_not_lazy_here(t, mm));
        self.call_on_mask(t, &self.online().without(t.cpu()), Call::AssertNotLazy(mm));
    }

    /// Panics if this CPU has `mm`.
    pub(crate) fn assert_not_lazy_here(&self, t: &IrqsOff, mm: MmId) {
        let me = self.machine.current(t);
        assert!(
            self.active_mm(t, me) != mm,
            "debug_shoot_lazies: {} still has {mm:?} after the cleanup",
            t.cpu()
        );
    }

    /// Linux's `do_shoot_lazy_tlb`: this CPU leaves `mm`, for the reason `why`, if it borrows it. Returns
    /// whether it did. Nothing is flushed: the exit's flush came before, and the tables
    /// are cut off since.
    // If it were inlined, every IPI would pay for the registers of this rare one.
    #[inline(never)]
    pub(crate) fn shoot_lazy_here(&self, t: &IrqsOff, mm: MmId, why: Why) -> bool {
        let me = self.machine.current(t);
        if self.active_mm(t, me) != mm {
            return false;
        }
        assert!(me.mm().is_none(), "a task still owns {mm:?}, which is being freed");
        self.leave_for(t, me, why).owes_nothing();
        true
    }
}
