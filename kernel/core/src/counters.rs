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
    /// CPUs that `__mmdrop` shot by IPI, counted at the CPU that sent it.
    shot_ipi,
    /// Times that `__mmdrop` found its own CPU lazy on the dying mm.
    shot_self,
    /// CPUs that the final flush of an exit asked to leave, counted at the CPU that
    /// asked.
    exit_kick,
    /// CPUs in a mask that got no IPI because they had another mm loaded.
    ipi_filtered,
    /// IPIs sent for a cross-call.
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
    /// Address spaces created.
    mm_created,
    /// Address spaces freed.
    mm_freed,
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
            Event::Evict { cause: Cause::Exit, cpus, .. } => me().exit_kick.add(cpus as u64),
            Event::Shoot { cpus, .. } => me().shot_ipi.add(cpus as u64),
            Event::ShotSelf(_) => me().shot_self.add(1),
            Event::Filtered(..) => me().ipi_filtered.add(1),
            Event::Ipi { .. } => me().ipi_sent_call.add(1),
            Event::Interrupted => me().ipi_received.bump(),
            Event::Called { call: Call::Shoot(_) | Call::Evict(_), .. } => me().call_lazy.bump(),
            Event::Called { call: Call::Flush(..), .. } => me().call_flush.bump(),
            Event::Called { call: Call::Barrier, .. } => me().call_barrier.bump(),
            Event::NotCalled => me().ipi_resched.bump(),
            Event::Flush { reach: Reach::Nobody, .. } => me().flush_none.add(1),
            Event::Flush { reach: Reach::Local, .. } => me().flush_local.add(1),
            Event::Flush { reach: Reach::Global, .. } => me().flush_global.add(1),
            Event::FlushLocal(..) => me().tlbiel.add(1),
            Event::FlushGlobal(..) => me().tlbie.add(1),
            Event::Created(_) => me().mm_created.add(1),
            Event::Freed(_) => me().mm_freed.add(1),
            Event::Ended(_) | Event::Leave(_) | Event::Evict { cause: Cause::Trim, .. } => {}
            Event::MaskSet(_) | Event::MaskCleared(_) | Event::Scan { .. } | Event::Posted { .. } => {}
            Event::Answers { .. } | Event::Membarrier { .. } | Event::Online | Event::Offline => {}
            Event::Called { call: Call::AssertNotLazy(_) | Call::Machine(..), .. } => {}
            Event::Answered(_) | Event::FlushBegins(_) | Event::Zombie(_) => {}
            Event::Dying(_) | Event::Dead(_) => {}
        }
    }
}
