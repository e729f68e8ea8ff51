//! Coprocessors: they translate through an mm, are no CPU, and hear only broadcasts.

use crate::LazyTlb;
use crate::machine::Machine;
use crate::mm::MmId;
use crate::mm::flush::FlushRange;
use crate::sync::{Ordering, fence};

impl<M: Machine> LazyTlb<M> {
    /// Attaches a coprocessor to `mm`: flushes must be broadcast from now on. The
    /// caller holds an `mm_count`, and lets it translate after the return.
    pub fn copro_attach(&self, mm: MmId) {
        assert!(M::BROADCASTS, "a coprocessor that no flush can reach");
        self.mm(mm).copros.fetch_add(1, Ordering::Relaxed);
        // The count before its first walk. Partners: the fences in `flush` and
        // `exit_flush`, as for a CPU's bit in the mask.
        fence(Ordering::SeqCst);
    }

    /// Detaches a coprocessor that no longer translates through `mm`. Interrupts on.
    pub fn copro_detach(&self, mm: MmId) {
        // Broadcast as long as the count says so; the next flush may be local, and
        // what the coprocessor has cached would outlive it.
        self.flush(mm, FlushRange::Everything);
        // Release: its accesses and that flush before the count. Partner: `has_copros`. It
        // states what a count of none means; the fence in `flush` has the accesses before
        // it, and the flush is complete by itself, so no model misses it.
        self.mm(mm).copros.fetch_sub(1, Ordering::Release);
    }

    pub(super) fn has_copros(&self, mm: MmId) -> bool {
        // Acquire: one that is gone has finished, and what we free is reused after it.
        // Partner: the release in `copro_detach`.
        self.mm(mm).copros.load(Ordering::Acquire) > 0
    }
}
