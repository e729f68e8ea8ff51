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

use super::policy::{Begin, Free, Operations};
use crate::LazyTlb;
use crate::cpu::{CpuSet, CpuState};
use crate::machine::{IrqsOff, Machine, PreemptOff};
use crate::mm::MmId;
use crate::sync::{AtomicU64, Ordering};

pub(crate) enum Hazard {}

/// The policy's word: what this CPU has published, as bits of the name.
fn slot(cpu: &CpuState) -> &AtomicU64 {
    &cpu.policy[0]
}

impl Operations for Hazard {
    #[inline(always)]
    fn begin<M: Machine>(lazy: &LazyTlb<M>, t: &IrqsOff, mm: MmId) -> Begin {
        // Nobody looks for the users of `init_mm`, and on the way to it the slot still
        // stands for a borrow that nobody may miss.
        if mm != MmId::INIT_MM {
            // Relaxed: F8, the release of the real reference that follows, orders it for the
            // last dropper of `mm`. The last dropper of what we borrowed before may read it
            // in place of the empty slot in between; for that one F14 in our callers orders
            // the load of the PID register before it.
            slot(lazy.this_cpu(t)).store(mm.to_bits(), Ordering::Relaxed);
        }
        Begin::Borrow
    }

    #[inline(always)]
    fn ended<M: Machine>(lazy: &LazyTlb<M>, t: &IrqsOff) {
        // F14 release: orders the load of the PID register before the empty slot. Partner:
        // `publishers_of`.
        slot(lazy.this_cpu(t)).store(MmId::NONE.to_bits(), Ordering::Release);
    }

    fn last_drop<M: Machine>(lazy: &LazyTlb<M>, t: &PreemptOff, mm: MmId) -> Free {
        lazy.shoot_lazies(t, mm, publishers_of(lazy, mm));
        Free::Now
    }
}

/// The online CPUs that have published a borrow of `mm`, which is dying.
fn publishers_of<M: Machine>(lazy: &LazyTlb<M>, mm: MmId) -> CpuSet {
    let mut publishers = CpuSet::EMPTY;
    for cpu in lazy.online().iter() {
        // F14 acquire: orders a slot with another mm, or none, before the reuse of what we
        // free. Partners: `ended`, `prepare_switch`, `give_up_mm`.
        if slot(lazy.cpu(cpu)).load(Ordering::Acquire) == mm.to_bits() {
            publishers.insert(cpu);
        }
    }
    publishers
}
