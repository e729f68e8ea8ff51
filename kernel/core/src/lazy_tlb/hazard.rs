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
        // Relaxed. For the last dropper of `mm` the release of the real reference that
        // follows orders it. The last dropper of what we borrowed *before* may see it
        // in place of the empty slot between: the fence of `prepare_switch` or of
        // `give_up_mm`, from where we come, has the load of PIDR before it.
        self.this_cpu(t).hazard.set(mm);
    }

    /// This CPU borrows nothing any more: the next PID is loaded.
    pub(super) fn hazard_withdraw(&self, t: &IrqsOff) {
        // Release: the load of PIDR before the empty slot. Partner: the acquire in
        // `holders_by_hazard`.
        self.this_cpu(t).hazard.set_ordered(MmId::NONE, Ordering::Release);
    }

    /// The online CPUs that have published a borrow of `mm`, which is dying.
    pub(super) fn holders_by_hazard(&self, _: &PreemptOff, mm: MmId) -> CpuSet {
        let mut holders = CpuSet::EMPTY;
        for cpu in self.online().iter() {
            // Acquire: who is seen with another mm, or none, has loaded its PID.
            // Partners: the release in `hazard_withdraw`, and the fence before the
            // next publication.
            if self.cpu(cpu).hazard.get_ordered(Ordering::Acquire) == mm {
                holders.insert(cpu);
            }
        }
        holders
    }
}
