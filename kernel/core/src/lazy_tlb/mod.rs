//! The second seam: what keeps a borrowed address space from vanishing.
//!
//! A policy answers four questions and carries no fences: the full barrier that
//! kernel→user owes is the switch's own, so no policy can forget it.
//!
//! | | eager | refcount | shootdown | hazard |
//! |---|---|---|---|---|
//! | a borrow begins | load `init_mm` instead | `mm_count` + 1 | nothing | publish it |
//! | a borrow has ended | nothing | `mmdrop`, deferred | nothing | withdraw it |
//! | the last `mmdrop` | nothing | nothing | IPI the CPUs in the mask | scan, IPI the holders |
//! | the exit's final flush | – | – | asks the lazies to leave | – |
//!
//! A further policy is a variant here and a file beside `shootdown.rs`.

mod hazard;
mod refcount;
mod shootdown;

use crate::Kernel;
use crate::event::Event;
use crate::machine::{IrqsOff, Machine, Point, PreemptOff};
use crate::mm::MmId;
use crate::task::TaskMm;

/// How borrowed address spaces are kept alive, or emptied.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum Policy {
    /// Never borrow: a kernel thread runs on `init_mm`.
    Eager,
    /// Count every borrow in `mm_count` (Linux before 6.4).
    Refcount,
    /// Count nothing; shoot the borrowers when the mm dies (Linux 6.4, powerpc).
    Shootdown,
    /// Publish every borrow per CPU; when the mm dies, shoot who has published it.
    Hazard,
}

impl Policy {
    /// Every policy, for tests and menus.
    pub const ALL: [Policy; 4] = [Policy::Eager, Policy::Refcount, Policy::Shootdown, Policy::Hazard];

    /// Its name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Policy::Eager => "eager",
            Policy::Refcount => "refcount",
            Policy::Shootdown => "shootdown",
            Policy::Hazard => "hazard",
        }
    }

    /// The policy with this name.
    pub fn from_name(name: &str) -> Option<Policy> {
        Self::ALL.into_iter().find(|policy| policy.name() == name)
    }

    /// Whether the final flush of an exit should also send the lazies away.
    pub(crate) fn wants_exit_kick(self) -> bool {
        self == Policy::Shootdown
    }
}

/// A borrow that has ended: the next address space is loaded. What the policy
/// kept for it is to be given back with [`Kernel::drop_lazy`].
///
/// Under shootdown it is a token: its mm may be gone already.
#[must_use = "a borrow that is not dropped leaks its mm under refcount"]
#[derive(Debug)]
pub struct LazyRef(MmId);

impl LazyRef {
    pub(crate) fn new(mm: MmId) -> Self {
        Self(mm)
    }

    /// The mm that was borrowed. Compare it, but do not follow it.
    pub fn token(&self) -> MmId {
        self.0
    }
}

impl<M: Machine> Kernel<M> {
    /// `task`, which runs here and owns no mm any more (or never did), stays on
    /// `mm`, which is loaded. The caller still holds a real reference.
    ///
    /// Interrupts are off from here until that reference is given up or the CPU
    /// has switched: a borrow is published before the real reference goes.
    pub(crate) fn borrow(&self, t: &IrqsOff, task: &TaskMm, mm: MmId) {
        task.set_active_mm(t, mm);
        match self.config.policy {
            Policy::Eager => {
                // Nothing was borrowed, so there is nothing to drop.
                let LazyRef(_) = self.leave_lazy(t, task);
                return;
            }
            Policy::Refcount => self.refcount_borrow(t, mm),
            Policy::Shootdown => {}
            // A kernel thread may have used `init_mm`; nobody ever looks for its users.
            Policy::Hazard if mm == MmId::INIT_MM => {}
            Policy::Hazard => self.hazard_publish(t, mm),
        }
        self.event(t, Event::Borrow(mm));
    }

    /// This CPU's borrow has ended: the next address space is loaded. Interrupts are
    /// off since before that load. What cannot be given back here is the
    /// [`LazyRef`]'s business.
    pub(crate) fn withdraw(&self, t: &IrqsOff) {
        match self.config.policy {
            Policy::Hazard => self.hazard_withdraw(t),
            Policy::Eager | Policy::Refcount | Policy::Shootdown => {}
        }
    }

    /// Gives back what the policy kept for a borrow that has ended. May free the
    /// mm under refcount, so interrupts are on, except where the caller knows
    /// that it is not the last (a kick). Preemption may be off.
    pub fn drop_lazy(&self, LazyRef(mm): LazyRef) {
        match self.config.policy {
            Policy::Refcount => self.refcount_drop(mm),
            Policy::Eager | Policy::Shootdown | Policy::Hazard => {}
        }
    }

    /// Moves this CPU from the mm that it borrows to `init_mm`: the only way
    /// there. `task` is the current task and owns no mm.
    ///
    /// `init_mm` is kept before, the old borrow given back after the new PID is
    /// loaded, with interrupts off: at no instant is a loaded mm unprotected.
    pub(crate) fn leave_lazy(&self, t: &IrqsOff, task: &TaskMm) -> LazyRef {
        let old = task.active_mm();
        self.machine.point(Point::LeaveLazyHalf);
        invariant!(task.mm().is_none(), "a task that owns {:?} cannot be lazy on {old:?}", task.mm());
        if self.config.policy == Policy::Refcount {
            self.refcount_borrow(t, MmId::INIT_MM);
        }
        task.set_active_mm(t, MmId::INIT_MM);
        self.switch_mm(t, old, MmId::INIT_MM);
        self.withdraw(t);
        self.event(t, Event::Ended(old));
        LazyRef::new(old)
    }

    /// The last reference to `mm` is gone. On return no CPU has it loaded, and
    /// none can borrow it again: who borrows inherits, and nobody has it to pass
    /// on. Interrupts on, preemption off.
    pub(crate) fn cleanup_lazies(&self, t: &PreemptOff, mm: MmId) {
        match self.config.policy {
            // Nobody borrows.
            Policy::Eager => {}
            // Borrowers had counts, and the counts are gone.
            Policy::Refcount => {}
            Policy::Shootdown => self.shoot_lazies(t, mm, self.holding_cpus(mm)),
            Policy::Hazard => self.shoot_lazies(t, mm, self.holders_by_hazard(t, mm)),
        }
        if self.config.debug_shoot_lazies {
            self.check_nobody_is_lazy(t, mm);
        }
    }
}
