//! Refcount: every borrow is a unit of `mm_count`.
//!
//! Nothing to do when the mm dies, at the price of two atomic changes of one
//! cache line by every CPU that goes in and out of idle.

use crate::Kernel;
use crate::event::Event;
use crate::machine::{IrqsOff, Machine};
use crate::mm::MmId;
use crate::sync::Ordering;

impl<M: Machine> Kernel<M> {
    /// One more borrow of `mm`, which is loaded and referenced.
    pub(super) fn refcount_borrow(&self, t: &IrqsOff, mm: MmId) {
        self.event(t, Event::GrabLazy(mm));
        self.mm(mm).mm_count().fetch_add(1, Ordering::Relaxed);
    }

    /// One borrow of `mm` less; frees it if it was the last of all. The release
    /// in `mmdrop` orders the load of the next PID before it.
    pub(super) fn refcount_drop(&self, mm: MmId) {
        self.machine.with_preempt_off(|t| self.event(t, Event::DropLazy(mm)));
        self.mmdrop(mm);
    }
}
