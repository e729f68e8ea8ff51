//! Loaded: tasks have no `active_mm`. What a CPU has loaded is the CPU's own word
//! ([`CpuState::active_mm`]), and the clean-up asks the CPUs of the mask for it.
//!
//! This is Torvalds's form of 2024. Otherwise it is shootdown with the filter. A borrow is
//! no event: a kernel thread runs on what is loaded, and no task names it. So a
//! descheduled thread can keep nothing, and there is nothing to hand on.
//!
//! [`CpuState::active_mm`]: crate::cpu::CpuState::active_mm

use super::policy::{Free, Operations};
use crate::LazyTlb;
use crate::cpu::CpuSet;
use crate::machine::{Machine, PreemptOff};
use crate::mm::MmId;

pub(crate) enum Loaded {}

impl Operations for Loaded {
    #[inline(always)]
    fn task_has_active_mm<M: Machine>(_: &LazyTlb<M>) -> bool {
        false
    }

    fn evicted_at_exit<M: Machine>(lazy: &LazyTlb<M>, t: &PreemptOff, mm: MmId) -> CpuSet {
        lazy.still_on(t, mm, lazy.online_in_mask(mm)).without(t.cpu())
    }

    fn last_drop<M: Machine>(lazy: &LazyTlb<M>, t: &PreemptOff, mm: MmId) -> Free {
        lazy.shoot_lazies(t, mm, lazy.still_on(t, mm, lazy.online_in_mask(mm)));
        Free::Now
    }
}
