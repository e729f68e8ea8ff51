//! Which CPUs a flush must reach, and how it gets there.
//!
//! The caller has cleared or changed PTEs. Either we see the bit of a CPU, or its walk
//! sees the new PTE: the handshake F1 of docs/lazy-tlb.md#barrier-pairs.

use crate::Kernel;
use crate::cpu::CpuSet;
use crate::ipi::Call;
use crate::machine::{IrqsOff, Machine, Point, PreemptOff, TlbEvent};
use crate::mm::MmId;
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
    /// More pages than this are flushed locally by PID: one `tlbiel` a page costs
    /// more than the 128 of a PID and what must be walked again (Linux's value).
    pub const MOST_LOCAL_PAGES: u32 = 256;
    /// The same for broadcasts, each of which visits every CPU (Linux's value).
    pub const MOST_GLOBAL_PAGES: u32 = 33;

    /// The same, or all translations if it names more than `most` pages.
    pub fn limited_to(self, most: u32) -> FlushRange {
        match self {
            FlushRange::Pages { pages, .. } if pages > most => FlushRange::Translations,
            range => range,
        }
    }
}

/// How far a flush must reach.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FlushReach {
    /// No CPU can hold a translation.
    None,
    /// Only this CPU can.
    Local,
    /// Others can.
    Global,
}

/// Who the cpumask names.
enum Holders {
    Nobody,
    OnlyMe,
    Others,
}

impl<M: Machine> Kernel<M> {
    /// Drops `what` of `mm` from every TLB that may hold it; complete on return,
    /// so frames may be freed. Interrupts on.
    pub fn flush(&self, mm: MmId, what: FlushRange) {
        self.machine.with_preempt_off(|t| {
            // F1 fence: orders the PTE stores before the read of the mask. Partner:
            // `switch_mm`. F2 fence: orders the PTE stores before the read of `copros`.
            // Partner: `copro_attach`.
            fence(Ordering::SeqCst);
            let reach = self.flush_reach_needed(t, mm, false);
            self.machine.point(Point::FlushDecided);
            self.flush_reaching(t, mm, what, reach);
        });
    }

    /// The final flush of an exit: `mm_users` is 0, the process-table entry is
    /// cleared, page tables are freed after it. Interrupts and preemption on.
    ///
    /// Under shootdown the lazies must be sent away soon in any case, and a CPU
    /// that goes flushes itself: one round of IPIs does both (Linux 6.6).
    /// Preemption stays off from the kick to the local flush, or we could be
    /// moved in between and the CPU we left would be missed (T10).
    pub fn exit_flush(&self, mm: MmId) {
        self.machine.with_preempt_off(|t| {
            // F2 fence: orders the cleared process-table entry before the read of `copros`.
            // Partner: `copro_attach`. The read of the mask needs none:
            // docs/lazy-tlb.md#the-order-of-an-exit.
            fence(Ordering::SeqCst);
            if self.config.policy.wants_exit_kick() {
                // Who is filtered out keeps its bit, so the flush below is global.
                let others = self.filter_lazies(t, mm, self.holding_cpus(mm).without(t.cpu()));
                let kicked = self.kick(t, mm, others);
                self.this_cpu(t).counters.exit_kick.add(kicked as u64);
                self.machine.point(Point::ExitFlushKicked);
            }
            let reach = self.flush_reach_needed(t, mm, true);
            self.flush_reaching(t, mm, FlushRange::Everything, reach);
        });
    }

    /// Attaches a coprocessor to `mm`: flushes must be broadcast from now on. The
    /// caller holds an `mm_count`, and lets it translate after the return.
    pub fn copro_attach(&self, mm: MmId) {
        self.mm(mm).copros.fetch_add(1, Ordering::Relaxed);
        // F2 fence: orders the count before the coprocessor's first walk. Partners:
        // `flush`, `exit_flush`.
        fence(Ordering::SeqCst);
    }

    /// Detaches a coprocessor that no longer translates through `mm`. Interrupts on.
    pub fn copro_detach(&self, mm: MmId) {
        // Broadcast as long as the count says so; the next flush may be local, and
        // what the coprocessor has cached would outlive it.
        self.flush(mm, FlushRange::Everything);
        // F16 release: orders the coprocessor's accesses, and its last flush, before the
        // count. Partner: `has_copros`. No model fails without it (CLAIMS.md, "Fences").
        self.mm(mm).copros.fetch_sub(1, Ordering::Release);
    }

    fn has_copros(&self, mm: MmId) -> bool {
        // F16 acquire: orders the read of the count before the reuse of what we free.
        // Partner: `copro_detach`.
        self.mm(mm).copros.load(Ordering::Acquire) > 0
    }

    /// Linux's `flush_type_needed`, with the counter `active_cpus` replaced by
    /// what it is derived from: the mask itself (I7).
    fn flush_reach_needed(&self, t: &PreemptOff, id: MmId, full_mm: bool) -> FlushReach {
        let mm = self.mm(id);
        let running_it = self.this_cpu(t).curr_mm.get() == id;
        if self.has_copros(id) {
            return FlushReach::Global;
        }
        match self.holders(t, id) {
            Holders::Nobody => return FlushReach::None,
            Holders::OnlyMe if running_it || !self.trim_is_due(t) => return FlushReach::Local,
            Holders::OnlyMe => {
                self.machine.with_irqs_off(|t| self.exit_lazy_flush_tlb(t, id));
                return FlushReach::None;
            }
            Holders::Others if full_mm => return FlushReach::Global,
            Holders::Others => {}
        }
        let single_threaded = mm.users() <= 1 && running_it;
        if single_threaded || self.trim_is_due(t) {
            self.kick_lazies(t, id);
            // Whoever still runs the mm flushed itself in the kick: we are left.
            return if mm.mm_cpumask.test(t.cpu()) { FlushReach::Local } else { FlushReach::None };
        }
        FlushReach::Global
    }

    fn holders(&self, t: &PreemptOff, mm: MmId) -> Holders {
        // F12 acquire: orders the read of a clear bit before the reuse of what we free.
        // Partners: `exit_lazy_flush_tlb`, `leave_all_masks`.
        let mask = self.mm(mm).mm_cpumask.snapshot(self.nr_cpus(), Ordering::Acquire);
        if !mask.without(t.cpu()).is_empty() {
            Holders::Others
        } else if mask.contains(t.cpu()) {
            Holders::OnlyMe
        } else {
            Holders::Nobody
        }
    }

    /// Ticks this CPU's trim clock; true at every `trim_period`th call.
    fn trim_is_due(&self, t: &PreemptOff) -> bool {
        let clock = &self.this_cpu(t).trim_clock;
        // Only this CPU ticks its clock, outside interrupt handlers.
        let ticks = clock.load(Ordering::Relaxed) + 1;
        let due = ticks >= self.config.trim_period;
        clock.store(if due { 0 } else { ticks }, Ordering::Relaxed);
        due
    }

    fn flush_reaching(&self, t: &PreemptOff, mm: MmId, what: FlushRange, reach: FlushReach) {
        let counters = &self.this_cpu(t).counters;
        match reach {
            FlushReach::None => counters.flush_none.add(1),
            FlushReach::Local => {
                counters.flush_local.add(1);
                self.flush_here(t, mm, what);
            }
            FlushReach::Global => {
                counters.flush_global.add(1);
                self.flush_everywhere(t, mm, what);
            }
        }
    }

    fn flush_everywhere(&self, t: &PreemptOff, mm: MmId, what: FlushRange) {
        if self.config.global_by_ipi {
            let holders = self.holding_cpus(mm);
            self.call_on_mask(t, &holders.without(t.cpu()), Call::Flush(mm, what));
            if holders.contains(t.cpu()) {
                self.flush_here(t, mm, what);
            }
            if !self.has_copros(mm) {
                return;
            }
        }
        let what = what.limited_to(FlushRange::MOST_GLOBAL_PAGES);
        self.this_cpu(t).counters.tlbie.add(1);
        let began = self.machine.observe(t, TlbEvent::FlushBegins(mm));
        self.machine.flush_global(t, mm, what);
        self.machine.observe(t, TlbEvent::FlushGlobal(mm, what, began));
    }

    /// The online CPUs in `mm`'s mask.
    pub(crate) fn holding_cpus(&self, mm: MmId) -> CpuSet {
        // F12 acquire: orders the read of a clear bit before the reuse of what we free.
        // Partners: `exit_lazy_flush_tlb`, `leave_all_masks`.
        self.mm(mm).mm_cpumask.snapshot(self.nr_cpus(), Ordering::Acquire).and(&self.online())
    }

    pub(crate) fn flush_here(&self, t: &PreemptOff, mm: MmId, what: FlushRange) {
        let what = what.limited_to(FlushRange::MOST_LOCAL_PAGES);
        self.this_cpu(t).counters.tlbiel.add(1);
        let began = self.machine.observe(t, TlbEvent::FlushBegins(mm));
        self.machine.flush_local(t, mm, what);
        self.machine.observe(t, TlbEvent::FlushLocal(mm, what, began));
    }

    /// Asks every other CPU in the mask to leave `mm` if it is lazy on it, and
    /// waits.
    fn kick_lazies(&self, t: &PreemptOff, mm: MmId) {
        self.kick(t, mm, self.holding_cpus(mm).without(t.cpu()));
    }

    fn kick(&self, t: &PreemptOff, mm: MmId, others: CpuSet) -> usize {
        self.call_on_mask(t, &others, Call::ExitLazy(mm));
        others.len()
    }

    /// Linux's `exit_lazy_flush_tlb`: what a kick does on this CPU, and what
    /// trimming does on one's own.
    ///
    /// Interrupts are off over all of it: a second kick in a gap would find it
    /// half done (T6). The flush comes even if the bit is already clear: two
    /// initiators may kick the same CPU, and the second one counts on it too (T5).
    pub(crate) fn exit_lazy_flush_tlb(&self, t: &IrqsOff, mm: MmId) {
        self.machine.point(Point::KickArrived);
        let me = self.machine.current(t);
        if me.mm() == mm {
            self.flush_here(t, mm, FlushRange::Everything);
            return;
        }
        let left = (me.active_mm() == mm).then(|| self.leave_lazy(t, me));
        self.flush_here(t, mm, FlushRange::Everything);
        self.machine.point(Point::KickFlushed);
        if self.mm(mm).mm_cpumask.test(t.cpu()) {
            // F12 release: orders the flush, and the load of the next mm, before the cleared
            // bit, the last touch of the mm. Partners: `holders`, `holding_cpus`. No model
            // fails without it (CLAIMS.md, "Fences").
            self.mm(mm).mm_cpumask.clear_ordered(t.cpu(), Ordering::Release);
        }
        if let Some(borrow) = left {
            // Never the last reference: the initiator has one.
            self.drop_lazy(borrow);
        }
    }
}
