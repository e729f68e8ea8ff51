//! Borrowing: a task without an address space stays on the one that is loaded.
//!
//! What keeps that one from vanishing is the [`policy`]'s business:
//!
//! | | eager | refcount | shootdown | hazard |
//! |---|---|---|---|---|
//! | a borrow begins | load `init_mm` instead | `mm_count` + 1 | nothing | publish it |
//! | a borrow has ended | nothing | `mmdrop`, deferred | nothing | withdraw it |
//! | the last `mmdrop` | nothing | nothing | IPI the CPUs in the mask | scan, IPI the holders |
//! | the exit's final flush | – | – | asks the lazies to leave | – |

pub(crate) mod eager;
pub(crate) mod hazard;
pub mod policy;
pub(crate) mod refcount;
pub(crate) mod shootdown;

use crate::LazyTlb;
use crate::event::Event;
use crate::machine::{IrqsOff, Machine, Point};
use crate::mm::MmId;
use crate::task::TaskMm;
use policy::{Begin, ask};

pub use policy::Policy;

/// A borrow that has ended: the next address space is loaded. What the policy
/// kept for it is to be given back.
///
/// Under shootdown it is a token: its mm may be gone already.
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

    /// There was no borrow, or one for which the policy keeps nothing.
    pub(crate) fn owes_nothing(self) {}
}

impl<M: Machine> LazyTlb<M> {
    /// `task`, which runs here and owns no mm any more (or never did), stays on
    /// `mm`, which is loaded. The caller still holds a real reference.
    ///
    /// Interrupts are off from here until that reference is given up or the CPU
    /// has switched: a borrow is published before the real reference goes.
    pub(crate) fn borrow(&self, t: &IrqsOff, task: &TaskMm, mm: MmId) {
        task.set_active_mm(t, mm);
        match ask!(self, begin(t, mm)) {
            Begin::Borrow => _ = self.event(t, Event::Borrow(mm)),
            Begin::LoadInitMm => self.leave_lazy(t, task).owes_nothing(),
        }
    }

    /// Gives back what the policy kept for a borrow that has ended. May free the
    /// mm under refcount, so interrupts are on, except where the caller knows
    /// that it is not the last (an eviction). Preemption may be off.
    pub(crate) fn settle(&self, EndedBorrow(mm): EndedBorrow) {
        ask!(self, settle(mm));
    }

    /// Moves this CPU from the mm that it borrows to `init_mm`: the only way
    /// there. `task` is the current task and owns no mm.
    ///
    /// `init_mm` is kept before, the old borrow given back after the new PID is
    /// loaded, with interrupts off: at no instant is a loaded mm unprotected.
    pub(crate) fn leave_lazy(&self, t: &IrqsOff, task: &TaskMm) -> EndedBorrow {
        let old = task.active_mm();
        self.machine.point(Point::LeaveLazyHalf);
        invariant!(task.mm().is_none(), "a task that owns {:?} cannot be lazy on {old:?}", task.mm());
        ask!(self, begin(t, MmId::INIT_MM));
        task.set_active_mm(t, MmId::INIT_MM);
        self.switch_mm(t, old, MmId::INIT_MM);
        ask!(self, ended(t));
        self.event(t, Event::Ended(old));
        EndedBorrow::new(old)
    }
}
