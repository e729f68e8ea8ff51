//! A CPU joins the protocol and leaves it.
//!
//! ```text
//! the CPU that goes                      who calls it
//! leave_lazy, drop the borrow            sample `online`
//! interrupts off from here on            post in its mailbox
//! flush its whole TLB, clear its bits    full fence
//! clear `online`                         still online? interrupt it
//! full fence                             else take the post back, if it is there
//! run what is in the mailbox
//! stop
//! ```
//! **No sender has to be waited for.** Of the two fences one comes first. If it is
//! the sender's, the post is there when the mailbox is emptied. If it is ours, the
//! sender finds us offline and takes its post back; should we have got it all the
//! same, we answer. One of the two gets it, so no call is lost or waits for ever,
//! and a sender may sample `online` as early as it likes.
//!
//! **Who is offline needs no call.** Whoever finds the bit in `online` clear may
//! skip the CPU, since that bit goes last: the CPU has left every mm and has flushed
//! what it held of them before. That is why the flush stands before the clearing of
//! `online`; behind it, a sender that skips us would free frames that our TLB still
//! names.
//!
//! **Who comes flushes first.** What a TLB holds at a start the architecture leaves
//! open; and whatever went out of page tables meanwhile was not flushed here.

use crate::LazyTlb;
use crate::lazy_tlb::policy::ask;
use crate::machine::{IrqsOff, Machine, Point};
use crate::mm::MmId;
use crate::sync::{Ordering, fence};

impl<M: Machine> LazyTlb<M> {
    /// This CPU joins the protocol: its current task, the idle task, borrows
    /// `init_mm`. At boot and after each [`LazyTlb::stop_cpu`], before the CPU can
    /// take an IPI or switch.
    pub fn start_cpu(&self) {
        self.machine.with_irqs_off(|t| {
            let idle = self.machine.current(t);
            invariant!(self.this_cpu(t).active_mm.own().is_none(), "{} starts twice", t.cpu());
            // Before it can load an mm that it had once.
            self.machine.flush_cpu(t);
            ask!(self, cpu_comes(t));
            idle.set_active_mm(t, MmId::INIT_MM);
            self.switch_mm(t, MmId::NONE, MmId::INIT_MM);
            self.check_loaded(t, idle);
            // Release: pairs with the acquire in `online`.
            self.online.publish(t.cpu());
        });
    }

    /// The first half of leaving: this CPU, in its idle task, gives up what it
    /// borrows. It may be the last reference under refcount, so interrupts are on;
    /// preemption stays off from here to [`LazyTlb::stop_cpu`], or the next task
    /// would bring a borrow again.
    pub fn leave_before_stop(&self) {
        let borrowed = self.machine.with_irqs_off(|t| self.leave_lazy(t, self.machine.current(t)));
        self.settle(borrowed);
    }

    /// The second half: this CPU is out of the protocol on return. It is in no mask,
    /// takes no calls, and must stop without touching an address space. Interrupts
    /// are off and stay so.
    pub fn stop_cpu(&self, t: &IrqsOff) {
        let (me, idle) = (self.this_cpu(t), self.machine.current(t));
        // Else the mm could be freed under the register of a CPU that answers no
        // more (T8).
        assert!(
            idle.mm().is_none() && idle.active_mm() == MmId::INIT_MM,
            "{} would stop with {:?} loaded",
            t.cpu(),
            idle.active_mm()
        );
        self.machine.point(Point::StopCpu);
        self.leave_all_masks(t);
        // Release: all of the above before the clear bit. Partner: the acquire in
        // `online`.
        self.online.retract(t.cpu());
        // Offline before the look at the mailbox. Partner: the fence in
        // `call_on_mask`, between the post and the look at `online`.
        fence(Ordering::SeqCst);
        self.handle_calls(t);
        idle.set_active_mm(t, MmId::NONE);
        me.active_mm.set(MmId::NONE);
        ask!(self, cpu_goes(t));
    }

    /// Drops all that this CPU may hold and takes it out of every mask (T7). It has
    /// `init_mm` loaded, so nothing comes back into the TLB between the two.
    fn leave_all_masks(&self, t: &IrqsOff) {
        self.machine.flush_cpu(t);
        for mm in self.mms.iter().filter(|mm| mm.cpumask().test(t.cpu())) {
            // Release: as in `evict_here`, the last touch of the mm.
            mm.cpumask().retract(t.cpu());
        }
    }
}
