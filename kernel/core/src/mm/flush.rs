//! Which CPUs a flush must reach, and how it gets there.
//!
//! The caller has cleared or changed PTEs. Either we see the bit of a CPU, or the walk of
//! that CPU sees the new PTE: the handshake F1 of docs/lazy-tlb.md#barrier-pairs.

use crate::LazyTlb;
use crate::cpu::{CpuSet, CpuState};
use crate::event::{Cause, Event};
use crate::ipi::Call;
use crate::lazy_tlb::policy::ask;
use crate::machine::{Machine, Point, PreemptOff};
use crate::mm::{Mm, MmId};
use crate::sync::{Ordering, fence};

/// What to drop of one address space.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FlushRange {
    /// Some pages: their translations only (RIC=0 by address).
    Pages {
        /// The first page's effective address.
        start: u64,
        /// How many base pages.
        pages: u32,
    },
    /// All translations, not the page-walk cache (RIC=0 by PID).
    Translations,
    /// Translations, page-walk cache and process-table entry (RIC=2 by PID).
    Everything,
}

impl FlushRange {
    /// A local flush of more pages than this goes by PID: one `tlbiel` per page would cost
    /// more than the 128 `tlbiel` of a flush by PID (ISA 3.0: one per set of the TLB) and
    /// the walks that follow it (Linux's value).
    pub const MOST_LOCAL_PAGES: u32 = 256;
    /// A broadcast flush of more pages than this goes by PID: each `tlbie` visits every
    /// CPU (Linux's value).
    pub const MOST_GLOBAL_PAGES: u32 = 33;

    /// This range, or all translations if it names more than `most` pages.
    pub fn limited_to(self, most: u32) -> FlushRange {
        match self {
            FlushRange::Pages { pages, .. } if pages > most => FlushRange::Translations,
            range => range,
        }
    }
}

/// How far a flush must reach.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reach {
    /// No CPU can hold a translation.
    Nobody,
    /// Only this CPU can.
    Local,
    /// Others can.
    Global,
}

/// What a flush does.
enum Plan {
    Flush(Reach),
    /// This CPU is alone in the mask, and lazy: it leaves, which flushes.
    LeaveHere,
    /// The other CPUs leave if they are lazy, and flush in any case. Then only this CPU
    /// is left to flush.
    EvictOthers,
}

/// Which CPUs the cpumask names, without those that the policy spares.
enum MaskShape {
    Nobody,
    OnlyMe,
    Others,
}

impl<M: Machine> LazyTlb<M> {
    /// Drops `what` of `mm` from every TLB that may hold it; complete on return,
    /// so frames may be freed. Interrupts on.
    #[inline(never)]
    pub fn flush(&self, mm: MmId, what: FlushRange) {
        self.machine.with_preempt_off(|t| {
            // F1 fence: orders the PTE stores before the read of the mask. Partner:
            // `switch_mm`. F2 fence: orders the PTE stores before the read of `copros`.
            // Partner: `copro_attach`.
            fence(Ordering::SeqCst);
            let me = self.this_cpu(t);
            let reach = match self.plan_flush(t, me, mm, what, false) {
                Plan::Flush(reach) => reach,
                plan => self.evict_as_planned(t, mm, plan),
            };
            self.machine.point(Point::FlushDecided);
            self.flush_reaching(t, me, mm, what, reach);
        });
    }

    /// The final flush of an exit: `mm_users` is 0, the tables are cut off, and are freed
    /// after it. Interrupts and preemption on.
    ///
    /// The policy may evict lazy CPUs first. Preemption stays off from the eviction to
    /// the local flush. Else this task could be moved in between, and the CPU that it
    /// left would be missed (T10).
    pub(super) fn exit_flush(&self, mm: MmId) {
        self.machine.with_preempt_off(|t| {
            self.event(t, Event::Zombie(mm));
            // F2 fence: orders the tables, which are cut off, before the read of `copros`.
            // Partner: `copro_attach`. The read of the mask needs none:
            // docs/lazy-tlb.md#the-order-of-an-exit.
            fence(Ordering::SeqCst);
            self.evict_before_exit(t, mm);
            let me = self.this_cpu(t);
            let reach = match self.plan_flush(t, me, mm, FlushRange::Everything, true) {
                Plan::Flush(reach) => reach,
                plan => self.evict_as_planned(t, mm, plan),
            };
            self.flush_reaching(t, me, mm, FlushRange::Everything, reach);
        });
    }

    /// Decides what a flush does, like Linux's `flush_type_needed`. Where Linux asks a
    /// counter, `active_cpus`, this asks the mask itself (I7). It may tick the trim clock of this
    /// CPU, whose state is `me`. `exits` is set for the final flush of an exit.
    #[inline(always)]
    fn plan_flush(&self, t: &PreemptOff, me: &CpuState, mm: MmId, what: FlushRange, exits: bool) -> Plan {
        let (state, running_it) = (self.mm(mm), me.curr_mm.own() == mm);
        if state.has_copros() {
            return Plan::Flush(Reach::Global);
        }
        match self.mask_shape(t, state, mm, what) {
            MaskShape::Nobody => Plan::Flush(Reach::Nobody),
            MaskShape::OnlyMe if running_it || !self.trim_is_due(me) => Plan::Flush(Reach::Local),
            MaskShape::OnlyMe => Plan::LeaveHere,
            MaskShape::Others if exits => Plan::Flush(Reach::Global),
            MaskShape::Others if state.users() <= 1 && running_it => Plan::EvictOthers,
            MaskShape::Others if self.trim_is_due(me) => Plan::EvictOthers,
            MaskShape::Others => Plan::Flush(Reach::Global),
        }
    }

    /// Does the evictions of a plan. Returns how far the flush that is left must reach.
    // Not inlined: the usual flush saves no registers for it.
    #[inline(never)]
    fn evict_as_planned(&self, t: &PreemptOff, mm: MmId, plan: Plan) -> Reach {
        match plan {
            Plan::Flush(reach) => return reach,
            Plan::LeaveHere => self.machine.with_irqs_off(|t| self.evict_here(t, mm, Cause::Trim)),
            Plan::EvictOthers => self.evict(t, mm, self.online_in_mask(mm).without(t.cpu()), Cause::Trim),
        }
        // Each CPU that was evicted has flushed, even one that runs the mm and keeps its
        // bit. At most this CPU is left.
        if self.mm(mm).mm_cpumask.test(t.cpu()) { Reach::Local } else { Reach::Nobody }
    }

    #[inline(always)]
    fn mask_shape(&self, t: &PreemptOff, state: &Mm, mm: MmId, what: FlushRange) -> MaskShape {
        // F12 acquire: orders the read of a clear bit before the reuse of what we free.
        // Partners: `evict_here`, `leave_all_masks`.
        match state.mm_cpumask.observe_sides(self.nr_cpus(), t.cpu()) {
            (_, true) if ask!(self, spares_lazies()) => self.mask_shape_unspared(t, state, mm, what),
            (_, true) => MaskShape::Others,
            (true, false) => MaskShape::OnlyMe,
            (false, false) => MaskShape::Nobody,
        }
    }

    /// [`LazyTlb::mask_shape`] without the CPUs that the policy spares.
    #[inline(never)]
    fn mask_shape_unspared(&self, t: &PreemptOff, state: &Mm, mm: MmId, what: FlushRange) -> MaskShape {
        // F12 acquire: orders the read of a clear bit before the reuse of what we free.
        // Partners: `evict_here`, `leave_all_masks`.
        let mut told = state.mm_cpumask.observe(self.nr_cpus());
        ask!(self, spare(t, mm, what, &mut told));
        let me = told.contains(t.cpu());
        told.remove(t.cpu());
        match told.is_empty() {
            false => MaskShape::Others,
            true if me => MaskShape::OnlyMe,
            true => MaskShape::Nobody,
        }
    }

    /// Ticks the trim clock of this CPU, whose state is `me`; true at every `trim_period`th call.
    fn trim_is_due(&self, me: &CpuState) -> bool {
        // Only this CPU ticks its clock, and no interrupt handler does: a load and a
        // store are enough.
        let ticks = me.trim_clock.load(Ordering::Relaxed) + 1;
        let due = ticks >= self.config.trim_period;
        me.trim_clock.store(if due { 0 } else { ticks }, Ordering::Relaxed);
        due
    }

    #[inline(always)]
    fn flush_reaching(&self, t: &PreemptOff, me: &CpuState, mm: MmId, what: FlushRange, reach: Reach) {
        let decided = |reach| _ = self.event_of(me, t, Event::Flush { mm, what, reach });
        // Each arm has an event of its own, whose counter and record do not depend on the reach.
        match reach {
            Reach::Nobody => decided(Reach::Nobody),
            Reach::Local => {
                decided(Reach::Local);
                self.flush_by(me, t, mm, what);
            }
            Reach::Global => {
                decided(Reach::Global);
                self.flush_everywhere(t, mm, what);
            }
        }
    }

    // Not inlined: a local flush saves no registers for it.
    #[inline(never)]
    fn flush_everywhere(&self, t: &PreemptOff, mm: MmId, what: FlushRange) {
        if self.tells_by_ipi() {
            let mut told = self.online_in_mask(mm);
            ask!(self, spare(t, mm, what, &mut told));
            self.call_on_mask(t, &told.without(t.cpu()), Call::Flush(mm, what));
            if told.contains(t.cpu()) {
                self.flush_here(t, mm, what);
            }
            if !self.mm(mm).has_copros() {
                return;
            }
        }
        let what = what.limited_to(FlushRange::MOST_GLOBAL_PAGES);
        let began = self.event(t, Event::FlushBegins(mm));
        self.machine.flush_global(t, mm, what);
        self.event(t, Event::FlushGlobal(mm, what, began));
    }

    /// Whether a flush of other CPUs tells each by IPI.
    pub(crate) fn tells_by_ipi(&self) -> bool {
        self.config.global_by_ipi || !M::BROADCASTS
    }

    /// The online CPUs in `mm`'s mask.
    pub(crate) fn online_in_mask(&self, mm: MmId) -> CpuSet {
        // F12 acquire: orders the read of a clear bit before the reuse of what we free.
        // Partners: `evict_here`, `leave_all_masks`.
        self.mm(mm).mm_cpumask.observe(self.nr_cpus()).and(&self.online())
    }

    // Inlined: most callers know what to flush.
    #[inline(always)]
    pub(crate) fn flush_here(&self, t: &PreemptOff, mm: MmId, what: FlushRange) {
        self.flush_by(self.this_cpu(t), t, mm, what);
    }

    /// [`LazyTlb::flush_here`] for one who has this CPU's state, `me`, at hand.
    #[inline(always)]
    fn flush_by(&self, me: &CpuState, t: &PreemptOff, mm: MmId, what: FlushRange) {
        let what = what.limited_to(FlushRange::MOST_LOCAL_PAGES);
        let began = self.event_of(me, t, Event::FlushBegins(mm));
        self.machine.flush_local(t, mm, what);
        self.event_of(me, t, Event::FlushLocal(mm, what, began));
    }
}
