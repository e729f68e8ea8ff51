//! Borrowing: a task without an address space stays on the one that is loaded.
//!
//! The [`policy`] sees to it that a loaded address space is not freed:
//!
//! | | eager | refcount | shootdown | hazard | evict | generation | loaded | quiescent |
//! |---|---|---|---|---|---|---|---|---|
//! | a borrow begins | load `init_mm` instead | `mm_count` + 1 | nothing | publish it | nothing | note the generation | nothing | nothing |
//! | a borrow has ended | nothing | `mmdrop`, deferred | nothing | withdraw it | nothing | make the flush that is owed | nothing | free the mm, if it waits for this CPU alone |
//! | a flush of pages | – | – | – | – | – | leave out lazy CPUs | – | – |
//! | the exit's final flush | nothing | nothing | evict the other CPUs in the mask | nothing | evict all CPUs in the mask | as shootdown | evict the others in the mask that have it loaded | nothing |
//! | the last `mmdrop` | nothing | nothing | IPI the CPUs in the mask | scan, IPI those that have published it | nothing | as shootdown | IPI those in the mask that have it loaded | free it, or wait for the CPUs in the mask |
//! | a kernel thread's use | holds a count | holds a count | holds a count | holds a count | is a user | holds a count | holds a count | holds a count |
//! | what names the loaded mm | task, CPU | task, CPU | task, CPU | task, CPU | task, CPU | task, CPU | CPU | task, CPU |

pub(crate) mod eager;
pub(crate) mod evict;
pub(crate) mod generation;
pub(crate) mod hazard;
pub(crate) mod loaded;
pub mod policy;
pub(crate) mod quiescent;
pub(crate) mod refcount;
pub(crate) mod shootdown;

use crate::LazyTlb;
use crate::event::{Event, Why};
use crate::machine::{IrqsOff, Machine, Point};
use crate::mm::MmId;
use crate::task::TaskMm;
use policy::{Begin, ask};

pub use policy::Policy;

/// A borrow that has ended: the next address space is loaded. What the policy kept for
/// the borrow must be given back.
///
/// Only refcount keeps a reference. Under the other policies this is a token, whose mm
/// may be freed already.
#[must_use = "a borrow that is not settled leaks its mm under refcount"]
#[derive(Debug)]
pub struct EndedBorrow(MmId);

impl EndedBorrow {
    pub(crate) fn new(mm: MmId) -> Self {
        Self(mm)
    }

    /// The mm that was borrowed. Compare it, but do not follow it.
    pub fn token(&self) -> MmId {
        self.0
    }

    /// Drops the token. There was no borrow, or the policy keeps nothing for it.
    pub(crate) fn owes_nothing(self) {}
}

impl<M: Machine> LazyTlb<M> {
    /// What this CPU has loaded, where `task` runs, or is switched from or to.
    pub(crate) fn active_mm(&self, t: &IrqsOff, task: &TaskMm) -> MmId {
        if ask!(self, task_has_active_mm()) { task.active_mm() } else { self.this_cpu(t).active_mm.own() }
    }

    /// `task`, which runs here or is switched from or to, has `mm` loaded from now on, or
    /// nothing.
    pub(crate) fn set_active_mm(&self, t: &IrqsOff, task: &TaskMm, mm: MmId) {
        if ask!(self, task_has_active_mm()) {
            task.set_active_mm(t, mm);
        }
    }

    /// The mm part of a user task which has not run yet. It takes over the caller's unit
    /// of `mm_users`.
    pub fn user_task(&self, mm: MmId) -> TaskMm {
        TaskMm::user(mm, if ask!(self, task_has_active_mm()) { mm } else { MmId::NONE })
    }

    /// `task` begins to borrow `mm`, which is loaded, or goes to `init_mm` if the policy
    /// says so. It owns no mm. It is the task that runs here, or the one that is switched
    /// to.
    ///
    /// The real reference behind the borrow is given up only after this call. By then the
    /// policy has counted or published the borrow.
    pub(crate) fn borrow(&self, t: &IrqsOff, task: &TaskMm, mm: MmId) {
        self.set_active_mm(t, task, mm);
        match ask!(self, begin(t, mm)) {
            Begin::Borrow => _ = self.event(t, Event::Borrow(mm)),
            Begin::LoadInitMm => self.leave_for(t, task, Why::Policy).owes_nothing(),
        }
    }

    /// Gives back what the policy kept for a borrow that has ended. Under refcount this
    /// may free the mm, so interrupts are on. They may be off where the caller knows of
    /// another reference (an eviction). Preemption may be on or off.
    pub(crate) fn settle(&self, EndedBorrow(mm): EndedBorrow) {
        ask!(self, settle(mm));
    }

    /// Moves this CPU from the mm that it borrows to `init_mm`. There is no other way from
    /// the one to the other. `task` owns no mm. It is the task that runs here, or under
    /// eager the one that is switched to.
    ///
    /// Under refcount the unit of `init_mm` is taken before the load of `init_mm`. Under
    /// every policy the old borrow ends only after that load. So a loaded mm is protected
    /// at every instant.
    fn leave_lazy(&self, t: &IrqsOff, task: &TaskMm) -> EndedBorrow {
        let old = self.active_mm(t, task);
        self.machine.point(Point::LeaveLazyHalf);
        invariant!(task.mm().is_none(), "a task that owns {:?} cannot be lazy on {old:?}", task.mm());
        ask!(self, begin(t, MmId::INIT_MM));
        self.set_active_mm(t, task, MmId::INIT_MM);
        self.go_to_mm(t, old, MmId::INIT_MM);
        ask!(self, ended(t));
        EndedBorrow::new(old)
    }

    /// [`LazyTlb::leave_lazy`], and the event of the borrow's end with its reason.
    // Inlined, so that the reason is mostly a number in the code that records it.
    #[inline(always)]
    pub(crate) fn leave_for(&self, t: &IrqsOff, task: &TaskMm, why: Why) -> EndedBorrow {
        let left = self.leave_lazy(t, task);
        self.event(t, Event::Ended(left.token(), why));
        left
    }
}
