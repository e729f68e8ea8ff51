//! The other sites where a task's address space changes: exit, exec, and a kernel
//! thread's use of a user mm.
//!
//! Each changes (mm, active_mm, PID register) in one section with interrupts
//! off, so an IPI never lands in the middle: step 4 of
//! docs/lazy-tlb.md#why-no-stale-active_mm-can-exist.

use crate::LazyTlb;
use crate::event::{Event, Why};
use crate::lazy_tlb::EndedBorrow;
use crate::lazy_tlb::policy::ask;
use crate::machine::{Machine, Point};
use crate::mm::MmId;
use crate::sync::{Ordering, fence};
use crate::task::TaskMm;

impl<M: Machine> LazyTlb<M> {
    /// The current task exits and gives up its address space. It runs on as a borrower,
    /// and the real reference goes last.
    ///
    /// Interrupts and preemption on. `mm = none` and the borrow are one section with
    /// interrupts off. Else the task could migrate in between: harmless for a count, but
    /// wrong for a policy that keeps the borrow per CPU.
    pub fn exit_mm(&self) {
        let mm = self.give_up_mm(Some(Point::ExitMmLocked));
        self.machine.point(Point::ExitMmBorrowed);
        self.mmput(mm);
    }

    /// `mm = none` for the current task, which borrows what it owned. Returns the mm,
    /// whose reference the caller has to give back. The point `locked`, if any, is passed
    /// under the task lock.
    fn give_up_mm(&self, locked: Option<Point>) -> MmId {
        self.machine.with_preempt_off(|p| {
            let task = self.machine.current(p);
            task.locked(p, || {
                if let Some(point) = locked {
                    self.machine.point(point);
                }
                let mm = task.mm();
                assert!(mm.is_some(), "the current task has no mm to give up");
                // F4 fence (d): orders the last user access before `mm = none`. Partner:
                // `barrier_on`. F29 fence: orders the last user access before the read of the
                // generation. Partner: `spare`. F14 fence: orders the load of the PID register before the
                // next publication. Partner: `publishers_of`.
                fence(Ordering::SeqCst);
                self.machine.with_irqs_off(|t| {
                    task.set_mm(t, MmId::NONE);
                    self.this_cpu(t).curr_mm.set(MmId::NONE);
                    self.machine.point(Point::GiveUpHalf);
                    self.borrow(t, task, mm);
                    self.check_loaded(t, task);
                });
                mm
            })
        })
    }

    /// The end of exec: the current task enters `new`, and takes over the caller's unit
    /// of its `mm_users`. Interrupts and preemption on.
    ///
    /// Reading `active_mm` and replacing it are one section with interrupts off. Else a
    /// lazy kernel thread that is preempted in between would come back on another mm, and
    /// drop the wrong one (T3).
    pub fn exec_mmap(&self, new: MmId) {
        let (old, borrowed) = self.machine.with_preempt_off(|p| {
            let task = self.machine.current(p);
            // F4 fence (d): orders the last user access in the old mm, which other tasks may
            // share (vfork), before it is replaced. Partner: `barrier_on`.
            fence(Ordering::SeqCst);
            task.locked(p, || self.enter_mm(task, new))
        });
        self.machine.point(Point::ExecMmapSwitched);
        if old.is_some() {
            self.mmput(old);
        } else {
            self.settle_entered(borrowed);
        }
    }

    /// A kernel thread enters the address space of `mm`, to use its memory until
    /// [`LazyTlb::kthread_unuse_mm`]. The caller holds a unit of `mm_users` for as long.
    /// Interrupts and preemption on.
    pub fn kthread_use_mm(&self, mm: MmId) {
        // A real reference, always and first. A borrow of `mm` cannot be turned into it,
        // since not every policy counts borrows. Taking it only if the thread borrows
        // another mm, but always dropping the borrow, frees `mm` too soon. The reverse
        // leaks it (T1).
        if ask!(self, use_is_user()) {
            self.mmget(mm);
        } else {
            self.mmgrab(mm);
        }
        self.machine.point(Point::UseMmGrabbed);
        let (old, borrowed) = self.machine.with_preempt_off(|p| {
            let task = self.machine.current(p);
            task.locked(p, || self.enter_mm(task, mm))
        });
        assert!(old.is_none(), "kthread_use_mm by a task that owns {old:?}");
        self.machine.point(Point::UseMmSwitched);
        self.settle_entered(borrowed);
    }

    /// The end of [`LazyTlb::kthread_use_mm`]: the thread borrows `mm` from now on. The
    /// reference of its use may be the last one. Under shootdown and hazard this CPU then
    /// shoots itself, and under evict it ends the mappings. Interrupts and preemption on.
    pub fn kthread_unuse_mm(&self, mm: MmId) {
        let used = self.give_up_mm(None);
        assert!(used == mm, "kthread_unuse_mm of {mm:?} by a thread that uses {used:?}");
        self.machine.point(Point::UnuseMmBorrowed);
        if ask!(self, use_is_user()) { self.mmput(mm) } else { self.mmdrop(mm) }
    }

    /// Loads `mm` as the current task's own. Returns the mm that the task owned, and the
    /// one that was loaded. If it owned none, the latter was a borrow.
    fn enter_mm(&self, task: &TaskMm, mm: MmId) -> (MmId, EndedBorrow) {
        self.machine.point(Point::EnterMm);
        self.machine.with_irqs_off(|t| {
            let (old, active) = (task.mm(), self.active_mm(t, task));
            self.set_active_mm(t, task, mm);
            task.set_mm(t, mm);
            self.this_cpu(t).curr_mm.set(mm);
            self.machine.point(Point::EnterMmHalf);
            self.go_to_mm(t, active, mm);
            if old.is_none() {
                ask!(self, ended(t));
                self.event(t, Event::Ended(active, Why::Takes));
            }
            self.check_loaded(t, task);
            (old, EndedBorrow::new(active))
        })
    }

    /// A task has turned from a borrower into an owner, outside a switch: issues the
    /// barrier that it owes, and gives the borrow back. In a switch `end_borrow`,
    /// `finish_switch` and `settle_switch` do this.
    fn settle_entered(&self, borrowed: EndedBorrow) {
        // F3 fence (e): orders `mm` before the first user access. Partner: `barrier_on`.
        fence(Ordering::SeqCst);
        self.settle(borrowed);
    }

    /// Takes a unit of `mm_users` of another task's mm. None if the task owns no mm: a
    /// kernel thread, or a task that exits. Preemption on.
    pub fn get_task_mm(&self, task: &TaskMm) -> Option<MmId> {
        self.machine.with_preempt_off(|t| {
            task.locked(t, || {
                let mm = task.mm();
                (mm.is_some() && self.mmget_not_zero(mm)).then_some(mm)
            })
        })
    }
}
