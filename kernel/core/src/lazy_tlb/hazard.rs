//! Hazard: every CPU publishes what it borrows, and who frees looks.
//!
//! A store when a borrow begins and one when it ends, both to the CPU's own line;
//! a scan of all CPUs when an mm dies, and IPIs to those that hold it, no others.
//! The idea is that of hazard pointers (Desnoyers proposed them for this in 2024).
//!
//! What makes the scan miss nobody: a borrow is published before the real
//! reference behind it is given up, so the publication happens before the last
//! `mmdrop`; and it is withdrawn after the next PID is loaded, so a slot that is
//! seen empty is a CPU that has left. `init_mm` is never published.

use crate::Kernel;
use crate::cpu::CpuSet;
use crate::machine::{IrqsOff, Machine, PreemptOff};
use crate::mm::MmId;
use crate::sync::Ordering;

impl<M: Machine> Kernel<M> {
    /// This CPU borrows `mm` from here on.
    pub(super) fn hazard_publish(&self, t: &IrqsOff, mm: MmId) {
        // It would stand for a borrow that nobody may miss: `leave_lazy` publishes none.
        invariant!(mm != MmId::INIT_MM, "init_mm is published over what is still loaded");
        // Relaxed: F8, the release of the real reference that follows, orders it for the
        // last dropper of `mm`. The last dropper of what we borrowed before may read it in
        // place of the empty slot in between; for that one F14 in our callers orders the
        // load of the PID register before it.
        self.this_cpu(t).hazard.set(mm);
    }

    /// This CPU borrows nothing any more: the next PID is loaded.
    pub(super) fn hazard_withdraw(&self, t: &IrqsOff) {
        // F14 release: orders the load of the PID register before the empty slot. Partner:
        // `holders_by_hazard`.
        self.this_cpu(t).hazard.set_ordered(MmId::NONE, Ordering::Release);
    }

    /// The online CPUs that have published a borrow of `mm`, which is dying.
    pub(super) fn holders_by_hazard(&self, _: &PreemptOff, mm: MmId) -> CpuSet {
        let mut holders = CpuSet::EMPTY;
        for cpu in self.online().iter() {
            // F14 acquire: orders a slot with another mm, or none, before the reuse of what
            // we free. Partners: `hazard_withdraw`, `prepare_switch`, `give_up_mm`.
            if self.cpu(cpu).hazard.get_ordered(Ordering::Acquire) == mm {
                holders.insert(cpu);
            }
        }
        holders
    }
}
