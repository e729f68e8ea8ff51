//! The report's counters. Their names are an interface: tests and tools read
//! them by name.

use crate::event::{Cause, Event};
use crate::ipi::Call;
use crate::mm::flush::Reach;
use crate::switch::Arm;
use crate::sync::Counter;

macro_rules! counters {
    ($($(#[doc = $doc:literal])+ $name:ident,)+) => {
        /// What one CPU counted since boot.
        #[derive(Default)]
        #[repr(C, align(128))]
        pub struct Counters { $($(#[doc = $doc])+ pub $name: Counter,)+ }

        impl Counters {
            /// The names, in the report's order.
            pub const NAMES: &[&str] = &[$(stringify!($name)),+];

            /// The values, in the order of [`Counters::NAMES`].
            pub fn values(&self) -> [u64; Self::NAMES.len()] {
                [$(self.$name.get()),+]
            }
        }
    };
}

counters! {
    /// Context switches from a user task to a kernel thread.
    switch_uk,
    /// … from a kernel thread to a kernel thread.
    switch_kk,
    /// … from a kernel thread to a user task.
    switch_ku,
    /// … from a user task to a user task.
    switch_uu,
    /// Borrows begun: by a switch to a kernel thread, or by a task that gives up its mm.
    lazy_enter,
    /// Returns to the borrowed mm: the address-space switches that laziness saved.
    lazy_same_mm,
    /// Writes of the PID register.
    pidr_writes,
    /// Atomic changes of an `mm_count` for borrows.
    mm_count_rmw,
    /// IPIs of `__mmdrop` to the CPUs that may be lazy on the dying mm.
    shot_ipi,
    /// Times that `__mmdrop` found its own CPU lazy on the dying mm.
    shot_self,
    /// IPIs of an exit, before its final flush, that ask CPUs to leave.
    exit_kick,
    /// IPIs that ask CPUs to let an mm go, because PIDs run short.
    let_go_ipi,
    /// IPIs of a flush that ask CPUs to leave: it, or the flushes after it, are local then.
    flush_kick,
    /// IPIs that ask CPUs to flush.
    ipi_flush,
    /// IPIs of a membarrier.
    ipi_barrier,
    /// IPIs of the machine's own calls, and of `debug_shoot_lazies`.
    ipi_other,
    /// CPUs in a mask that got no IPI because they had another mm loaded.
    ipi_filtered,
    /// IPIs sent for a cross-call: the sum of `shot_ipi`, `exit_kick`, `let_go_ipi`,
    /// `flush_kick`, `ipi_flush`, `ipi_barrier` and `ipi_other`.
    ipi_sent_call,
    /// IPIs sent to make a CPU reschedule.
    ipi_sent_resched,
    /// IPIs that arrived here.
    ipi_received,
    /// … without a cross-call: to reschedule, or to look at a signal.
    ipi_resched,
    /// Cross-calls served here: to flush.
    call_flush,
    /// … to leave an mm that is borrowed.
    call_lazy,
    /// … for a membarrier.
    call_barrier,
    /// Broadcast invalidations.
    tlbie,
    /// Local invalidations.
    tlbiel,
    /// Flushes that no CPU needed.
    flush_none,
    /// Flushes that only this CPU needed.
    flush_local,
    /// Flushes that other CPUs needed too.
    flush_global,
    /// CPUs that a flush left out, because they were lazy.
    flush_spared,
    /// Flushes that a CPU made when its laziness ended, for those that had left it out.
    flush_paid,
    /// Address spaces created.
    mm_created,
    /// Address spaces freed.
    mm_freed,
}

/// What the CPUs counted of one thing, in five numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Spread {
    /// The least of a CPU.
    pub min: u64,
    /// The least number that at least half of the CPUs do not exceed.
    pub median: u64,
    /// The most of a CPU.
    pub max: u64,
    /// The first CPU that has the most.
    pub at: usize,
    /// The sum.
    pub total: u64,
}

impl Spread {
    /// Of what `nr_cpus` CPUs, at least one, counted. Allocates nothing: a search finds the median.
    pub fn of(nr_cpus: usize, count: impl Fn(usize) -> u64) -> Self {
        let (mut min, mut max, mut at, mut total) = (u64::MAX, 0, 0, 0);
        for cpu in 0..nr_cpus {
            let one = count(cpu);
            if one > max {
                (max, at) = (one, cpu);
            }
            min = min.min(one);
            total += one;
        }
        let (mut low, mut high) = (min, max);
        while low < high {
            let middle = low + (high - low) / 2;
            let not_above = (0..nr_cpus).filter(|&cpu| count(cpu) <= middle).count();
            if 2 * not_above >= nr_cpus { high = middle } else { low = middle + 1 }
        }
        Self { min, median: low, max, at, total }
    }
}

impl Counters {
    /// The table from events to counters; `me` finds the counters of this CPU. `bump` is
    /// for events that happen only with interrupts off.
    #[inline(always)]
    pub(crate) fn count<'a>(me: impl Fn() -> &'a Counters, event: Event) {
        match event {
            Event::Switch { arm: Arm::UserToKernel, .. } => me().switch_uk.bump(),
            Event::Switch { arm: Arm::KernelToKernel, .. } => me().switch_kk.bump(),
            Event::Switch { arm: Arm::KernelToUser, from, to } => {
                me().switch_ku.bump();
                if from == to {
                    me().lazy_same_mm.bump();
                }
            }
            Event::Switch { arm: Arm::UserToUser, .. } => me().switch_uu.bump(),
            Event::Borrow(_) => me().lazy_enter.bump(),
            Event::GrabLazy(_) => me().mm_count_rmw.bump(),
            Event::DropLazy(_) => me().mm_count_rmw.add(1),
            Event::Load(_) => me().pidr_writes.bump(),
            Event::ShotSelf(_) => me().shot_self.add(1),
            Event::Filtered(..) => me().ipi_filtered.add(1),
            Event::Sent { call, ipis } => {
                let me = me();
                let reason = match call {
                    Call::Shoot(_) => &me.shot_ipi,
                    Call::LetGo(_) => &me.let_go_ipi,
                    Call::Evict(_, Cause::Exit) => &me.exit_kick,
                    Call::Evict(_, Cause::Trim) => &me.flush_kick,
                    Call::Flush(..) => &me.ipi_flush,
                    Call::Barrier => &me.ipi_barrier,
                    Call::AssertNotLazy(_) | Call::Machine(..) => &me.ipi_other,
                };
                reason.add(ipis);
                me.ipi_sent_call.add(ipis);
            }
            Event::Interrupted => me().ipi_received.bump(),
            Event::Called { call: Call::Shoot(_) | Call::LetGo(_) | Call::Evict(..), .. } => {
                me().call_lazy.bump();
            }
            Event::Called { call: Call::Flush(..), .. } => me().call_flush.bump(),
            Event::Called { call: Call::Barrier, .. } => me().call_barrier.bump(),
            Event::NotCalled => me().ipi_resched.bump(),
            Event::Flush { reach: Reach::Nobody, .. } => me().flush_none.add(1),
            Event::Flush { reach: Reach::Local, .. } => me().flush_local.add(1),
            Event::Flush { reach: Reach::Global, .. } => me().flush_global.add(1),
            Event::Spared { .. } => me().flush_spared.add(1),
            Event::Paid(_) => me().flush_paid.add(1),
            Event::FlushLocal(..) => me().tlbiel.add(1),
            Event::FlushGlobal(..) => me().tlbie.add(1),
            Event::Created(_) => me().mm_created.add(1),
            Event::Freed(_) => me().mm_freed.add(1),
            Event::Ended(..)
            | Event::Leave(_)
            | Event::Evict { .. }
            | Event::Shoot { .. }
            | Event::Ipi { .. } => {}
            Event::MaskSet(_) | Event::MaskCleared(_) | Event::Scan { .. } | Event::Posted { .. } => {}
            Event::Answers { .. } | Event::Membarrier { .. } | Event::Online | Event::Offline => {}
            Event::Called { call: Call::AssertNotLazy(_) | Call::Machine(..), .. } => {}
            Event::Answered(_) | Event::FlushBegins(_) | Event::Zombie(_) => {}
            Event::Dying(_) | Event::Dead(_) => {}
        }
    }
}
