//! Eviction: a CPU that is lazy on an mm is made to leave it, and flushes.
//!
//! There are three occasions. The only user of an mm flushes it, and its flushes need no
//! broadcast from then on. Or the flusher's trim clock is due, so that masks do not grow
//! for ever (Linux trims likewise). Or an exit is about to do its final flush, and the
//! policy asks for it.

use crate::LazyTlb;
use crate::cpu::CpuSet;
use crate::event::{Cause, Event};
use crate::ipi::Call;
use crate::lazy_tlb::policy::ask;
use crate::machine::{IrqsOff, Machine, Point, PreemptOff};
use crate::mm::MmId;
use crate::mm::flush::FlushRange;

impl<M: Machine> LazyTlb<M> {
    /// Evicts `others`, this CPU not among them, from `mm`, and waits.
    pub(super) fn evict(&self, t: &PreemptOff, mm: MmId, others: CpuSet, cause: Cause) {
        self.event(t, Event::Evict { mm, cause, cpus: &others });
        self.call_on_mask(t, &others, Call::Evict(mm, cause));
    }

    /// Evicts the CPUs that the policy names, before the final flush of `mm`'s exit.
    pub(super) fn evict_before_exit(&self, t: &PreemptOff, mm: MmId) {
        let lazies = ask!(self, evicted_at_exit(t, mm));
        let others = lazies.without(t.cpu());
        if !others.is_empty() {
            self.evict(t, mm, others, Cause::Exit);
            self.machine.point(Point::ExitEvicted);
        }
        if lazies.contains(t.cpu()) {
            self.machine.with_irqs_off(|t| self.evict_here(t, mm, Cause::Exit));
        }
    }

    /// Linux's `exit_lazy_flush_tlb`: this CPU leaves `mm` if it is lazy on it, flushes
    /// it, and clears its bit in the mask. A CPU that runs `mm` flushes and stays.
    ///
    /// Interrupts stay off: a second eviction in a gap would find the first half done
    /// (T6). The CPU flushes even if its bit is already clear: two initiators may evict
    /// one CPU, and each counts on a flush after its own call (T5).
    pub(crate) fn evict_here(&self, t: &IrqsOff, mm: MmId, cause: Cause) {
        self.machine.point(Point::EvictArrived);
        let me = self.machine.current(t);
        if me.mm() == mm {
            self.flush_here(t, mm, FlushRange::Everything);
            return;
        }
        let left = (self.active_mm(t, me) == mm).then(|| self.leave_for(t, me, cause.why()));
        self.flush_here(t, mm, FlushRange::Everything);
        self.machine.point(Point::EvictFlushed);
        if self.mm(mm).mm_cpumask.test(t.cpu()) {
            self.event(t, Event::MaskCleared(mm));
            // F12 release: orders the flush, and the load of the next mm, before the cleared
            // bit, the last touch of the mm. Partners: `mask_shape`, `online_in_mask`. No
            // model fails without it (CLAIMS.md, "Fences").
            self.mm(mm).mm_cpumask.retract(t.cpu());
        }
        if let Some(borrow) = left {
            // Never the last reference: the initiator has one.
            self.settle(borrow);
        }
    }
}
