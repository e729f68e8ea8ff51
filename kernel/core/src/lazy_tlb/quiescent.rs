//! Quiescent: count nothing and ask nobody. An mm without references waits until every CPU has
//! let it go, as RCU waits for readers.
//!
//! A CPU lets an mm go by loading another one. It does so when it switches to a user task, and
//! an idle CPU does so by itself, [`Config::idle_limit_ms`] after it found the mm borrowed: a
//! timer wakes it for that, since a CPU that sleeps in the hypervisor passes nothing. If PIDs
//! run short, CPUs are asked (`free_waiting`). A kernel thread that runs for long keeps what it
//! borrows until then.
//!
//! The last drop writes the mm's word, then looks at each CPU of the mask. A CPU that leaves an
//! mm publishes what it has loaded, then reads the word of the mm that it left. A full fence
//! stands between the two on either side (F54): the last drop sees that all have gone, or the
//! CPU that leaves last sees the word. Several may see that all have gone: one of them takes the
//! word, and frees the mm.
//!
//! A CPU has one mm loaded, and none can load an mm without references. So no more mms wait
//! than there are CPUs.
//!
//! [`Config::idle_limit_ms`]: crate::Config::idle_limit_ms

use super::policy::{Free, Operations};
use crate::LazyTlb;
use crate::event::Why;
use crate::ipi::Call;
use crate::machine::{Machine, PreemptOff};
use crate::mm::{Mm, MmId};
use crate::sync::{AtomicU64, Ordering, fence};

pub(crate) enum Quiescent {}

/// The mm's word: its own id while it waits to be freed, else `NONE`. An id is used once, so
/// a word that still has it is of this mm, whatever was read of its slot before.
fn waits(mm: &Mm) -> &AtomicU64 {
    mm.policy_word()
}

fn is_waiting<M: Machine>(lazy: &LazyTlb<M>, mm: MmId) -> bool {
    waits(lazy.slot_of(mm)).load(Ordering::Relaxed) == mm.to_bits()
}

impl Operations for Quiescent {
    /// A full fence stands between the switch and this call (F54 in `take_ended`).
    #[inline(always)]
    fn keeps_borrows<M: Machine>(lazy: &LazyTlb<M>, mm: MmId) -> bool {
        is_waiting(lazy, mm)
    }

    fn settle<M: Machine>(lazy: &LazyTlb<M>, mm: MmId) {
        // F54 fence: orders the publication of what is loaded before the read of the word.
        // Partner: `last_drop`.
        fence(Ordering::SeqCst);
        if take_if_left(lazy, mm) {
            lazy.free(mm);
        }
    }

    fn last_drop<M: Machine>(lazy: &LazyTlb<M>, _: &PreemptOff, mm: MmId) -> Free {
        // F55 release: orders what every holder did before the word. Partner: `take_if_left`.
        waits(lazy.mm(mm)).store(mm.to_bits(), Ordering::Release);
        // F54 fence: orders the word before the reads of what CPUs have loaded. Partners:
        // `settle`, `take_ended`.
        fence(Ordering::SeqCst);
        if take_if_left(lazy, mm) { Free::Now } else { Free::Later }
    }

    #[inline(always)]
    fn lets_idle_go<M: Machine>(_: &LazyTlb<M>) -> bool {
        true
    }

    fn free_waiting<M: Machine>(lazy: &LazyTlb<M>) -> bool {
        let mut freed = false;
        for slot in &lazy.mms {
            let mm = MmId::from_bits(waits(slot).load(Ordering::Relaxed));
            if mm.is_some() {
                lazy.machine.with_preempt_off(|t| {
                    lazy.machine.with_irqs_off(|t| lazy.shoot_lazy_here(t, mm, Why::LetGo));
                    let has = |cpu| cpu != t.cpu() && lazy.cpu(cpu).active_mm.peek() == mm;
                    lazy.call_on_those(t, has, Call::LetGo(mm));
                });
                if take_if_left(lazy, mm) {
                    lazy.free(mm);
                    freed = true;
                }
            }
        }
        freed
    }
}

/// Takes the word of `mm`, if it is there and no CPU has `mm` loaded. The caller frees it then.
fn take_if_left<M: Machine>(lazy: &LazyTlb<M>, mm: MmId) -> bool {
    let slot = lazy.slot_of(mm);
    if !is_waiting(lazy, mm) {
        return false;
    }
    // F12 acquire: orders the read of a clear bit before the reuse of what we free. Partners:
    // `evict_here`, `leave_all_masks`.
    let mask = slot.cpumask().observe(lazy.nr_cpus()).and(&lazy.online());
    // F13 acquire: orders the name of another mm before the reuse of what we free. Partner:
    // `switch_mm`.
    let has = |cpu| lazy.cpu(cpu).active_mm.observe() == mm;
    if mask.iter().any(has) {
        return false;
    }
    let (waiting, taken) = (mm.to_bits(), MmId::NONE.to_bits());
    // F55 acquire: orders the word before the free. Partner: `last_drop`.
    waits(slot).compare_exchange(waiting, taken, Ordering::Acquire, Ordering::Relaxed).is_ok()
}
