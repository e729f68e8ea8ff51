//! Refcount: every borrow is a unit of `mm_count`, those of `init_mm` included.
//!
//! When the mm dies, nothing is to be done. The price is two atomic changes of one cache
//! line by every CPU that goes idle and comes back.

use super::policy::{Begin, Operations};
use crate::LazyTlb;
use crate::event::Event;
use crate::machine::{IrqsOff, Machine};
use crate::mm::MmId;
use crate::sync::Ordering;

pub(crate) enum Refcount {}

impl Operations for Refcount {
    #[inline(always)]
    fn begin<M: Machine>(lazy: &LazyTlb<M>, t: &IrqsOff, mm: MmId) -> Begin {
        lazy.event(t, Event::GrabLazy(mm));
        lazy.mm(mm).mm_count().fetch_add(1, Ordering::Relaxed);
        Begin::Borrow
    }

    #[inline(always)]
    fn keeps_borrows<M: Machine>(_: &LazyTlb<M>, _: MmId) -> bool {
        true
    }

    /// Frees `mm` if this was the last reference of all. F8 in `give_back` orders the load
    /// of the next PID before the free.
    #[inline(always)]
    fn settle<M: Machine>(lazy: &LazyTlb<M>, mm: MmId) {
        lazy.machine.with_preempt_off(|t| lazy.event(t, Event::DropLazy(mm)));
        lazy.give_back(mm);
    }

    fn cpu_comes<M: Machine>(lazy: &LazyTlb<M>, _: &IrqsOff) {
        lazy.mmgrab(MmId::INIT_MM);
    }

    /// Never the last unit: I5.
    fn cpu_goes<M: Machine>(lazy: &LazyTlb<M>, _: &IrqsOff) {
        Self::settle(lazy, MmId::INIT_MM);
    }
}
