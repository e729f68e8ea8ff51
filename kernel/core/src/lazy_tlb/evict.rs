//! Evict: no borrow outlives the users. The last `mmput` sends every CPU that has the mm
//! loaded to `init_mm`, itself included, in the round of the exit's final flush.
//!
//! No CPU can load an mm that has no users: a user task holds a unit of `mm_users` while it
//! runs or can run, and under this policy so does a kernel thread's use. The mask holds
//! every borrower (I4), so after the eviction nobody has the mm loaded, a zombie has no
//! borrowers, and the last `mmdrop` looks for nobody.

use super::policy::Operations;
use crate::LazyTlb;
use crate::cpu::CpuSet;
use crate::machine::{Machine, PreemptOff};
use crate::mm::MmId;

pub(crate) enum Evict {}

impl Operations for Evict {
    /// All CPUs in the mask.
    fn evicted_at_exit<M: Machine>(lazy: &LazyTlb<M>, t: &PreemptOff, mm: MmId) -> CpuSet {
        lazy.filter_lazies(t, mm, lazy.online_in_mask(mm))
    }

    /// A borrow begins at the end of a use. A use that held a unit of `mm_count` alone could
    /// outlast the users, and that borrow would come after the eviction.
    #[inline(always)]
    fn use_is_user<M: Machine>(_: &LazyTlb<M>) -> bool {
        true
    }
}
