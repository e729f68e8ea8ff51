//! A CPU joins the protocol and leaves it.
//!
//! A CPU that goes flushes first and clears its bit in `online` last, so a CPU that is
//! offline needs no call. A CPU that goes waits for no sender. A CPU that comes flushes
//! first. The order and its proof are in docs/lazy-tlb.md#cpu-hotplug.

use crate::LazyTlb;
use crate::event::{Event, Why};
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
            // Before this CPU loads an mm: its TLB may hold entries from before it
            // stopped.
            self.machine.flush_cpu(t);
            ask!(self, cpu_comes(t));
            self.set_active_mm(t, idle, MmId::INIT_MM);
            self.go_to_mm(t, MmId::NONE, MmId::INIT_MM);
            self.check_loaded(t, idle);
            // F17 release: orders this CPU's state before its bit. Partner: `online`.
            self.online.publish(t.cpu());
            self.event(t, Event::Online);
        });
    }

    /// Whether an idle CPU is to call [`LazyTlb::leave_idle`], once it has had the same mm borrowed for [`Config::idle_limit_ms`].
    ///
    /// [`Config::idle_limit_ms`]: crate::Config::idle_limit_ms
    #[inline(always)]
    pub fn lets_idle_go(&self) -> bool {
        ask!(self, lets_idle_go())
    }

    /// The first half of leaving: this CPU, in its idle task, gives up what it borrows. That
    /// may free it, so interrupts are on. If the CPU stops, preemption
    /// stays off from here to [`LazyTlb::stop_cpu`]: another task could bring a borrow
    /// again.
    pub fn leave_before_stop(&self) {
        self.leave_idle(Why::Offline);
    }

    /// This CPU, in its idle task, gives up what it borrows, for the reason `why`.
    pub fn leave_idle(&self, why: Why) {
        let borrowed = self.machine.with_irqs_off(|t| self.leave_for(t, self.machine.current(t), why));
        self.settle(borrowed);
    }

    /// The second half: this CPU is out of the protocol on return. It is in no mask,
    /// takes no calls, and must stop without touching an address space. Interrupts
    /// are off and stay so.
    pub fn stop_cpu(&self, t: &IrqsOff) {
        let (me, idle) = (self.this_cpu(t), self.machine.current(t));
        // Else the mm could be freed while the PID register of a CPU that takes no calls
        // names it (T8).
        assert!(
            idle.mm().is_none() && self.active_mm(t, idle) == MmId::INIT_MM,
            "{} would stop with {:?} loaded",
            t.cpu(),
            self.active_mm(t, idle)
        );
        self.machine.point(Point::StopCpu);
        self.event(t, Event::Offline);
        self.leave_all_masks(t);
        // F18 release: orders having left every mm, and the flush, before the cleared bit.
        // Partner: `online`.
        self.online.retract(t.cpu());
        // F19 fence: orders the cleared bit before the last look into the mailbox. Partner:
        // `call_awaited`.
        fence(Ordering::SeqCst);
        self.handle_calls(t);
        self.set_active_mm(t, idle, MmId::NONE);
        me.active_mm.set(MmId::NONE);
        ask!(self, cpu_goes(t));
    }

    /// Drops all that this CPU's TLB may hold, and takes the CPU out of every mask (T7).
    /// `init_mm` is loaded, so no user translation comes into the TLB between the two.
    fn leave_all_masks(&self, t: &IrqsOff) {
        self.machine.flush_cpu(t);
        for mm in self.mms.iter().filter(|mm| mm.cpumask().test(t.cpu())) {
            self.event(t, Event::MaskCleared(mm.id()));
            // F12 release: orders the flush before the cleared bit, the last touch of the
            // mm. Partners: `mask_shape`, `online_in_mask`.
            mm.cpumask().retract(t.cpu());
        }
    }
}
