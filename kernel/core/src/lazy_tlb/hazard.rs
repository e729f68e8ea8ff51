//! Hazard: every CPU publishes what it borrows, and the CPU that frees an mm scans what
//! is published.
//!
//! A borrow costs one store when it begins and one when it ends, both to the CPU's own
//! line. A dying mm costs a scan of the online CPUs, and an IPI to each that has
//! published it. The idea is that of hazard pointers (Desnoyers proposed them for this in
//! 2024).
//!
//! The scan misses no borrower, for two reasons. A CPU publishes a borrow before the real
//! reference behind it is given up, so the publication happens before the last `mmdrop`.
//! A CPU withdraws a borrow after it has loaded the next PID, so a CPU whose slot is seen
//! empty has left. `init_mm` is never published.

use super::policy::{Begin, Free, Operations};
use crate::LazyTlb;
use crate::cpu::{CpuSet, CpuState};
use crate::event::Event;
use crate::machine::{IrqsOff, Machine, PreemptOff};
use crate::mm::MmId;
use crate::sync::{AtomicU64, Ordering};

pub(crate) enum Hazard {}

/// The CPU's hazard slot, the first of its words for the policy: the mm that it has
/// published, as [`MmId::to_bits`].
fn slot(cpu: &CpuState) -> &AtomicU64 {
    &cpu.policy_words[0]
}

impl Operations for Hazard {
    #[inline(always)]
    fn begin<M: Machine>(lazy: &LazyTlb<M>, t: &IrqsOff, mm: MmId) -> Begin {
        // Publishing `init_mm` would overwrite a slot that may still protect another mm:
        // `leave_lazy` comes here before it loads `init_mm`. No scan looks for borrowers
        // of `init_mm`.
        if mm != MmId::INIT_MM {
            // Relaxed is enough for both readers. The real reference is released after
            // this store, so F8 orders the store before the scan for `mm`. A scan for our
            // *previous* mm may read this store instead of the `NONE` stored in between.
            // That is safe: F14 in our callers orders the load of the PID register before
            // this store.
            slot(lazy.this_cpu(t)).store(mm.to_bits(), Ordering::Relaxed);
        }
        Begin::Borrow
    }

    #[inline(always)]
    fn ended<M: Machine>(lazy: &LazyTlb<M>, t: &IrqsOff) {
        // F14 release: orders the load of the PID register before the empty hazard slot.
        // Partner: `publishers_of`.
        slot(lazy.this_cpu(t)).store(MmId::NONE.to_bits(), Ordering::Release);
    }

    fn last_drop<M: Machine>(lazy: &LazyTlb<M>, t: &PreemptOff, mm: MmId) -> Free {
        let publishers = publishers_of(lazy, mm);
        lazy.event(t, Event::Scan { mm, cpus: &publishers });
        lazy.shoot_lazies(t, mm, publishers);
        Free::Now
    }
}

/// The online CPUs that have published a borrow of `mm`, which is dying.
fn publishers_of<M: Machine>(lazy: &LazyTlb<M>, mm: MmId) -> CpuSet {
    let mut publishers = CpuSet::EMPTY;
    for cpu in lazy.online().iter() {
        // F14 acquire: orders a hazard slot with another mm, or none, before the reuse of
        // what we free. Partners: `ended`, `prepare_switch`, `give_up_mm`.
        if slot(lazy.cpu(cpu)).load(Ordering::Acquire) == mm.to_bits() {
            publishers.insert(cpu);
        }
    }
    publishers
}
