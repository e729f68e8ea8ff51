//! The other sites where a task's address space changes: exit, exec, and a kernel
//! thread's use of a user mm.
//!
//! Each changes (mm, active_mm, PID register) in one section with interrupts
//! off, so an IPI never lands in the middle: step 4 of
//! docs/lazy-tlb.md#why-no-stale-active_mm-can-exist.

use crate::LazyTlb;
use crate::event::Event;
use crate::lazy_tlb::EndedBorrow;
use crate::lazy_tlb::policy::ask;
use crate::machine::{Machine, Point};
use crate::mm::MmId;
use crate::sync::{Ordering, fence};
use crate::task::TaskMm;

impl<M: Machine> LazyTlb<M> {
    /// The current task gives up its address space, as an exiting task does: it
    /// runs on as a borrower, and the real reference goes last.
    ///
    /// Interrupts and preemption on. The borrow begins with interrupts off, or
    /// the task could migrate between it and `mm = none` (harmless for a count,
    /// wrong for whatever is kept per CPU).
    pub fn exit_mm(&self) {
        let mm = self.give_up_mm(Some(Point::ExitMmLocked));
        self.machine.point(Point::ExitMmBorrowed);
        self.mmput(mm);
    }

    /// `mm = none` for the current task, which borrows what it owned. Returns
    /// the mm; its reference is the caller's to give back. `locked` is passed under the task lock.
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
                // `barrier_on`. F14 fence: orders the load of the PID register before the
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

    /// The current task enters `new`, whose unit of `mm_users` it takes over:
    /// the end of exec. Interrupts and preemption on.
    ///
    /// Reading `active_mm` and replacing it are one section with interrupts off:
    /// a lazy kernel thread preempted in between would come back on another mm
    /// and drop the wrong one (T3).
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
            self.end_of_borrow(borrowed);
        }
    }

    /// A kernel thread enters the address space of `mm`, to use its memory until
    /// [`LazyTlb::kthread_unuse_mm`]. The caller holds an `mm_users` for as long.
    /// Interrupts and preemption on.
    pub fn kthread_use_mm(&self, mm: MmId) {
        // A real reference, always and first. Turning the borrow of the same mm
        // into it would be illegal: borrows may not be counted. Taking it only
        // for another mm, but dropping the borrow always (or the reverse), leaks
        // or frees too soon (T1).
        self.mmgrab(mm);
        self.machine.point(Point::UseMmGrabbed);
        let (old, borrowed) = self.machine.with_preempt_off(|p| {
            let task = self.machine.current(p);
            task.locked(p, || self.enter_mm(task, mm))
        });
        assert!(old.is_none(), "kthread_use_mm by a task that owns {old:?}");
        self.machine.point(Point::UseMmSwitched);
        self.end_of_borrow(borrowed);
    }

    /// The end of [`LazyTlb::kthread_use_mm`]: the thread borrows `mm` from now
    /// on. Its reference may be the last one: under shootdown it then shoots
    /// itself. Interrupts and preemption on.
    pub fn kthread_unuse_mm(&self, mm: MmId) {
        let used = self.give_up_mm(None);
        assert!(used == mm, "kthread_unuse_mm of {mm:?} by a thread that uses {used:?}");
        self.machine.point(Point::UnuseMmBorrowed);
        self.mmdrop(mm);
    }

    /// Loads `mm` as the current task's own. Returns the mm that the task owned
    /// and the one that was loaded, which was a borrow if it owned none.
    fn enter_mm(&self, task: &TaskMm, mm: MmId) -> (MmId, EndedBorrow) {
        self.machine.point(Point::EnterMm);
        self.machine.with_irqs_off(|t| {
            let (old, active) = (task.mm(), task.active_mm());
            task.set_active_mm(t, mm);
            task.set_mm(t, mm);
            self.this_cpu(t).curr_mm.set(mm);
            self.machine.point(Point::EnterMmHalf);
            self.switch_mm(t, active, mm);
            if old.is_none() {
                ask!(self, ended(t));
                self.event(t, Event::Ended(active));
            }
            self.check_loaded(t, task);
            (old, EndedBorrow::new(active))
        })
    }

    /// What a task owes that turned from a borrower into an owner.
    fn end_of_borrow(&self, borrowed: EndedBorrow) {
        // F3 fence (e): orders `mm` before the first user access. Partner: `barrier_on`.
        fence(Ordering::SeqCst);
        self.settle(borrowed);
    }

    /// A reference to the address space of another task, or none if it has none
    /// (a kernel thread, or a task that exits). Preemption on.
    pub fn get_task_mm(&self, task: &TaskMm) -> Option<MmId> {
        self.machine.with_preempt_off(|t| {
            task.locked(t, || {
                let mm = task.mm();
                (mm.is_some() && self.mmget_not_zero(mm)).then_some(mm)
            })
        })
    }
}
