//! The report's counters. Their names are an interface: tests and tools read
//! them by name.

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
    /// Borrows begun: a kernel thread runs on, or a task goes on, without an mm.
    lazy_enter,
    /// Returns to the borrowed mm: the address-space switches that laziness saved.
    lazy_same_mm,
    /// Writes of the PID register.
    pidr_writes,
    /// Atomic changes of an `mm_count` by the switch paths.
    mm_count_rmw,
    /// CPUs that `__mmdrop` shot by IPI, counted at the shooter.
    shot_ipi,
    /// Times that `__mmdrop` found its own CPU lazy on the dying mm.
    shot_self,
    /// CPUs that the final flush of an exit asked to let go, counted at the asker.
    exit_kick,
    /// CPUs in a mask that got no IPI since they had another mm loaded.
    ipi_filtered,
    /// IPIs sent for a cross-call.
    ipi_sent_call,
    /// IPIs sent to make a CPU reschedule.
    ipi_sent_resched,
    /// IPIs that arrived here.
    ipi_received,
    /// … of which without a cross-call: to reschedule, or to look at a signal.
    ipi_resched,
    /// Cross-calls served here: to flush.
    call_flush,
    /// … to let go of an mm that is borrowed.
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
