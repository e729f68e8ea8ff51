//! Coprocessors. A coprocessor (POWER's accelerators) is no CPU, translates through an mm,
//! and hears only broadcast flushes.

use crate::LazyTlb;
use crate::machine::Machine;
use crate::mm::flush::FlushRange;
use crate::mm::{Mm, MmId};
use crate::sync::{Ordering, fence};

impl<M: Machine> LazyTlb<M> {
    /// Attaches a coprocessor to `mm`: flushes must be broadcast from now on. The caller
    /// holds a unit of `mm_count`, and lets the coprocessor translate only after the
    /// return.
    pub fn copro_attach(&self, mm: MmId) {
        assert!(M::BROADCASTS, "a coprocessor that no flush can reach");
        self.mm(mm).copros.fetch_add(1, Ordering::Relaxed);
        // F2 fence: orders the count before the coprocessor's first walk. Partners:
        // `flush`, `exit_flush`.
        fence(Ordering::SeqCst);
    }

    /// Detaches a coprocessor that no longer translates through `mm`. Interrupts on.
    pub fn copro_detach(&self, mm: MmId) {
        // This flush is still broadcast, because of the count. The next one may be local,
        // and what the coprocessor has cached would outlive it.
        self.flush(mm, FlushRange::Everything);
        // F16 release: orders the coprocessor's accesses, and its last flush, before the
        // count. Partner: `has_copros`. No model fails without it (CLAIMS.md, "Fences").
        self.mm(mm).copros.fetch_sub(1, Ordering::Release);
    }
}

impl Mm {
    #[inline(always)]
    pub(super) fn has_copros(&self) -> bool {
        // F16 acquire: orders the read of the count before the reuse of what we free.
        // Partner: `copro_detach`.
        self.copros.load(Ordering::Acquire) > 0
    }
}
