//! Refcount: every borrow is a unit of `mm_count`.
//!
//! Nothing to do when the mm dies, at the price of two atomic changes of one
//! cache line by every CPU that goes in and out of idle.

use crate::Kernel;
use crate::machine::{IrqsOff, Machine};
use crate::mm::MmId;
use crate::sync::Ordering;

impl<M: Machine> Kernel<M> {
    /// One more borrow of `mm`, which is loaded and referenced.
    pub(super) fn refcount_borrow(&self, t: &IrqsOff, mm: MmId) {
        self.this_cpu(t).counters.mm_count_rmw.bump();
        self.mm(mm).mm_count().fetch_add(1, Ordering::Relaxed);
    }

    /// One borrow of `mm` less; frees it if it was the last of all. The release
    /// in `mmdrop` orders the load of the next PID before it.
    pub(super) fn refcount_drop(&self, mm: MmId) {
        self.machine.with_preempt_off(|t| self.this_cpu(t).counters.mm_count_rmw.add(1));
        self.mmdrop(mm);
    }
}
