//! The switch: four arms (cases), by whether the task before and the task after own an
//! address space.
//!
//! The kernel calls [`LazyTlb::prepare_switch`], changes stacks, and calls
//! [`LazyTlb::finish_switch`] on the new one. With interrupts on again it calls
//! [`LazyTlb::settle_switch`]. A borrow that ended is given back only there, because an
//! mm may be freed neither with interrupts off nor on the stack of the task that is left.

use crate::LazyTlb;
use crate::event::{Event, Why};
use crate::lazy_tlb::EndedBorrow;
use crate::lazy_tlb::policy::ask;
use crate::machine::{IrqsOff, Machine, Point};
use crate::mm::{Mm, MmId};
use crate::sync::{Ordering, fence};
use crate::task::TaskMm;

/// Which way a context switch went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Arm {
    /// The kernel thread borrows what the user task had loaded.
    UserToKernel,
    /// The borrow goes from one kernel thread to the next.
    KernelToKernel,
    /// The borrow ends.
    KernelToUser,
    /// From one user task to another. They may share their address space.
    UserToUser,
}

impl Arm {
    /// Whether a borrow ends.
    #[inline]
    pub fn ends_borrow(self) -> bool {
        self == Arm::KernelToUser
    }
}

impl<M: Machine> LazyTlb<M> {
    /// The mm half of a switch from `prev` to `next` on this CPU, up to the change of
    /// stacks. `next` is out of every run queue, so no other CPU runs it.
    pub fn prepare_switch(&self, t: &IrqsOff, prev: &TaskMm, next: &TaskMm) -> Arm {
        let me = self.this_cpu(t);
        invariant!(me.prev_mm.own().is_none(), "{}: the switch before has not finished", t.cpu());
        // F4 fence (d): orders the last user access of `prev` before the change of
        // `curr_mm`. Partner: `barrier_on`. F14 fence: orders the load of the PID register
        // before the next publication. Partner: `publishers_of`. F29 fence: orders the last
        // user access before the read of the generation. Partner: `spare`. Callers may count on
        // a full barrier.
        fence(Ordering::SeqCst);
        // This CPU's own word: that of `prev`, where tasks have one, is the same (I1).
        let (from, to) = (me.active_mm.own(), next.mm());
        me.curr_mm.set(to);
        let begins = |arm| {
            self.event_of(me, t, Event::Switch { arm, from, to });
            arm
        };
        let arm = match (prev.mm().is_some(), to.is_some()) {
            (true, false) => {
                let arm = begins(Arm::UserToKernel);
                self.borrow(t, next, from);
                arm
            }
            (false, false) => {
                let arm = begins(Arm::KernelToKernel);
                if ask!(self, task_has_active_mm()) {
                    next.set_active_mm(t, from);
                    prev.set_active_mm(t, MmId::NONE);
                }
                arm
            }
            (false, true) => {
                let arm = begins(Arm::KernelToUser);
                self.end_borrow(t, from, prev, next);
                arm
            }
            (true, true) => {
                let arm = begins(Arm::UserToUser);
                self.go_to_mm(t, from, to);
                arm
            }
        };
        invariant!(
            prev.mm().is_some() || prev.active_mm().is_none(),
            "I2: a descheduled kernel thread keeps {:?}",
            prev.active_mm()
        );
        self.check_loaded(t, next);
        arm
    }

    /// The arm kernel→user, away from `borrowed`. The ended borrow waits in `prev_mm` for
    /// `finish_switch`.
    fn end_borrow(&self, t: &IrqsOff, borrowed: MmId, prev: &TaskMm, next: &TaskMm) {
        let me = self.this_cpu(t);
        self.go_to_mm(t, borrowed, next.mm());
        ask!(self, ended(t));
        me.prev_mm.set(borrowed);
        self.set_active_mm(t, prev, MmId::NONE);
        self.event(t, Event::Ended(borrowed, Why::Switch));
    }

    /// The second half, on the stack of the task that is switched to. A new task calls it
    /// first of all. `ends_borrow` is [`Arm::ends_borrow`] of the first half. Returns the
    /// borrow that ended, for [`LazyTlb::settle_switch`]. Preemption stays off until that
    /// call: a task that is preempted before it would keep the borrow for as long as it
    /// waits.
    #[must_use = "the borrow must be settled"]
    #[inline(always)]
    pub fn finish_switch(&self, t: &IrqsOff, ends_borrow: bool) -> Option<EndedBorrow> {
        ask!(self, quiescent(t));
        ends_borrow.then(|| self.take_ended(t))
    }

    /// The borrow that [`LazyTlb::end_borrow`] has left, on the new stack.
    fn take_ended(&self, t: &IrqsOff) -> EndedBorrow {
        let me = self.this_cpu(t);
        let borrowed = me.prev_mm.own();
        invariant!(borrowed.is_some(), "{}: no borrow has ended", t.cpu());
        me.prev_mm.set(MmId::NONE);
        // F54 fence: orders the publication of what is loaded before the read of the word.
        // Partner: `last_drop`. F3 fence (e): orders the change of `curr_mm` before the first
        // user access. Partner: `barrier_on`. `switch_mm` issues none when the next mm is the
        // borrowed one, and only refcount executes an atomic later.
        fence(Ordering::SeqCst);
        EndedBorrow::new(borrowed)
    }

    /// What [`LazyTlb::settle_switch`] has to do for the borrow that the switch ended: nothing,
    /// if the policy keeps nothing for one.
    #[must_use = "the borrow must be settled"]
    #[inline(always)]
    pub fn left_to_settle(&self, borrow: Option<EndedBorrow>) -> Option<EndedBorrow> {
        borrow.filter(|borrow| ask!(self, keeps_borrows(borrow.token())))
    }

    /// Gives back the borrow that the switch ended. Interrupts are on now, so this may
    /// free its mm.
    pub fn settle_switch(&self, borrow: Option<EndedBorrow>) {
        self.machine.point(Point::SettleSwitch);
        if let Some(borrow) = borrow {
            self.settle(borrow);
        }
    }

    /// Linux's `switch_mm_irqs_off`: from now on this CPU translates through `next`, and
    /// no more through `prev`, which is none at the CPU's start. The caller holds a
    /// reference to `next`, or the next task does.
    #[inline]
    pub(crate) fn go_to_mm(&self, t: &IrqsOff, prev: MmId, next: MmId) {
        let mm = self.mm(next);
        if prev == next {
            // This CPU is in the mask: I4.
            ask!(self, arrived(t, next, true));
        } else {
            self.switch_mm(t, prev, next, mm);
        }
    }

    /// The change to another mm: `mm` is that of `next`.
    // Not inlined: threads of one mm switch without it.
    #[inline(never)]
    fn switch_mm(&self, t: &IrqsOff, prev: MmId, next: MmId, mm: &Mm) {
        let me = self.this_cpu(t);
        let mask = mm.cpumask();
        if !mask.test(t.cpu()) {
            mask.set(t.cpu());
            // F1 fence: orders this CPU's bit before its first walk. Partner: `flush`. F3
            // fence (e): orders the change of `curr_mm` before the first user access.
            // Partner: `barrier_on`.
            self.machine.order_mask_before_walks(t);
            self.event_of(me, t, Event::MaskSet(next));
        } else if mm.membarrier().any() {
            // F3 fence (e): orders the change of `curr_mm` before the first user access,
            // on a CPU whose bit was set. Partner: `barrier_on`.
            fence(Ordering::SeqCst);
        }
        // `Load` is reported between the bit and the first walk, `Leave` after the last
        // walk. Else an observer would see walks through an mm that it believes the CPU
        // does not have.
        self.event_of(me, t, Event::Load(next));
        self.machine.load_mm(t, next);
        if prev.is_some() {
            self.event(t, Event::Leave(prev));
        }
        // F13 release: orders the load of the PID register, and the observer's record of
        // it, before the publication. Partner: `still_on`.
        me.active_mm.publish(next);
        ask!(self, arrived(t, next, false));
    }

    /// I1: the PID register, the published mm and the task agree. A task that is to name
    /// nothing names nothing. I4: this CPU is in the mask of what it has loaded.
    pub(crate) fn check_loaded(&self, t: &IrqsOff, task: &TaskMm) {
        if cfg!(any(feature = "checks", loom, test)) {
            let (active, published) = (self.active_mm(t, task), self.this_cpu(t).active_mm.own());
            let pid = self.machine.loaded_pid(t);
            assert!(
                active == published && active.pid() == pid,
                "I1: {} runs on {active:?}, published {published:?}, PIDR {}",
                t.cpu(),
                pid.get()
            );
            let named = task.active_mm();
            assert!(
                named.is_none() || ask!(self, task_has_active_mm()),
                "I1: on {} a task names {named:?}, and only the CPU is to",
                t.cpu()
            );
            // A CPU that stops is out of all masks, and answers its last calls on
            // `init_mm`, which has no translations.
            let known = self.slot_of(active).cpumask().test(t.cpu()) || !self.online.test(t.cpu());
            assert!(known, "I4: {} runs on {active:?} and is not in its cpumask", t.cpu());
        }
    }
}
