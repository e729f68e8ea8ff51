//! Generation: as shootdown; besides, a flush spares the CPUs that are lazy (x86's idea).
//!
//! A lazy CPU accesses no user memory, so a stale translation in its TLB harms nobody until
//! that CPU runs or uses the mm. A flush counts the mm's *generation* up, in the mm's word,
//! and leaves the lazy CPUs out. A CPU keeps a *note* in the first of its words: while it is
//! lazy, the PID of the mm and the generation that it saw when it became lazy. A borrow that
//! ends clears the note. If the generation has changed since, the CPU owes a flush, and drops
//! all translations of the PID.
//!
//! - *The handshake (F29).* The flusher counts up, then reads the notes. The CPU clears its
//!   note, then reads the generation. A full fence stands between the two on either side: the
//!   flusher sees that the CPU is back and tells it, or the CPU sees that it owes a flush.
//! - *A note that is newer than the flush.* A CPU that becomes lazy between the two steps of
//!   a flusher has noted the new generation, and would find nothing changed when it comes
//!   back. So only a note with an older generation spares a CPU. That CPU read the generation
//!   after a full fence of its switch (F29), and did not see the new one: its last user access
//!   comes before the reuse of what the flusher frees. PID and generation are one word: two
//!   could be seen of two borrows.
//! - *Another mm is loaded (A, B, A).* Translations of A outlive the load of B, and the CPU
//!   stays in A's mask. It pays when it leaves A, whatever comes next (`ended`). From then on
//!   it has no note for A and is asked. Between the load of B and its publication the CPU has
//!   no note for B, so no flush of B spares it.
//! - *Walks.* The MMU of a lazy CPU may walk at any time. What it translates is dropped with
//!   the rest. What it caches of the way there names tables, so a flush of
//!   [`FlushRange::Everything`], which comes before tables are freed, spares nobody. Nor does
//!   the flush of an exit, which is one of these: at the end of an mm no flush is owed.

use super::policy::{Begin, Free, Operations};
use super::shootdown::Shootdown;
use crate::LazyTlb;
use crate::cpu::{CpuSet, CpuState};
use crate::event::Event;
use crate::machine::{IrqsOff, Machine, PreemptOff};
use crate::mm::MmId;
use crate::mm::flush::FlushRange;
use crate::sync::{AtomicU64, Ordering, fence};

pub(crate) enum Generation {}

/// The bits of a note that have the generation. The PID, which has 20 on POWER, is above. A
/// generation that does not fit any more is cut: a flush spares nobody then, or one is made
/// that nobody owes.
const GENERATION_BITS: u32 = 44;
/// No note: the CPU is not lazy, or is lazy on `init_mm`, which has no translations.
const NO_NOTE: u64 = 0;

/// The note of a CPU that is lazy on the mm in `slot` since it saw `generation`.
const fn note_of(slot: usize, generation: u64) -> u64 {
    (slot as u64) << GENERATION_BITS | generation & ((1 << GENERATION_BITS) - 1)
}

/// The CPU's note. Only this CPU writes it.
fn note(cpu: &CpuState) -> &AtomicU64 {
    &cpu.policy_words[0]
}

impl Operations for Generation {
    #[inline(always)]
    fn begin<M: Machine>(lazy: &LazyTlb<M>, t: &IrqsOff, mm: MmId) -> Begin {
        if mm != MmId::INIT_MM {
            let generation = lazy.mm(mm).policy_word().load(Ordering::Relaxed);
            note(lazy.this_cpu(t)).store(note_of(mm.slot(), generation), Ordering::Relaxed);
        }
        Begin::Borrow
    }

    #[inline(always)]
    fn ended<M: Machine>(lazy: &LazyTlb<M>, t: &IrqsOff) {
        let note = note(lazy.this_cpu(t));
        let noted = note.load(Ordering::Relaxed);
        if noted == NO_NOTE {
            return;
        }
        note.store(NO_NOTE, Ordering::Relaxed);
        // F29 fence: orders the cleared note before the read of the generation. Partner:
        // `spare`.
        fence(Ordering::SeqCst);
        let slot = (noted >> GENERATION_BITS) as usize;
        if note_of(slot, lazy.mms[slot].policy_word().load(Ordering::Relaxed)) != noted {
            pay(lazy, t, slot);
        }
    }

    #[inline(never)]
    fn spare<M: Machine>(lazy: &LazyTlb<M>, t: &PreemptOff, mm: MmId, what: FlushRange, told: &mut CpuSet) {
        if what == FlushRange::Everything {
            return;
        }
        let (slot, nr_cpus) = (mm.slot(), lazy.nr_cpus());
        let is_behind = |cpu, newest| {
            (note_of(slot, 0)..note_of(slot, newest)).contains(&note(lazy.cpu(cpu)).load(Ordering::Relaxed))
        };
        // A broadcast reaches every CPU, so it must be spared all of them or none. No flush
        // is owed for nothing: the generation is left alone where nobody would be spared.
        let (mut some, mut all) = (false, true);
        told.for_each(nr_cpus, |cpu| {
            if cpu != t.cpu() {
                let behind = is_behind(cpu, u64::MAX);
                (some, all) = (some | behind, all & behind);
            }
        });
        if !some || !all && !lazy.tells_by_ipi() {
            return;
        }
        let since = lazy.event(t, Event::FlushBegins(mm));
        let generation = lazy.mm(mm).policy_word().fetch_add(1, Ordering::Relaxed) + 1;
        // F29 fence: orders the generation before the reads of the notes, and before the reuse
        // of what we free. Partners: `ended`, `prepare_switch`, `give_up_mm`.
        fence(Ordering::SeqCst);
        told.retain(nr_cpus, |cpu| {
            let spared = cpu != t.cpu() && is_behind(cpu, generation);
            if spared {
                lazy.event(t, Event::Spared { mm, cpu, since });
            }
            !spared
        });
    }

    #[inline(always)]
    fn spares_lazies<M: Machine>(_: &LazyTlb<M>) -> bool {
        true
    }

    fn evicted_at_exit<M: Machine>(lazy: &LazyTlb<M>, t: &PreemptOff, mm: MmId) -> CpuSet {
        Shootdown::evicted_at_exit(lazy, t, mm)
    }

    fn last_drop<M: Machine>(lazy: &LazyTlb<M>, t: &PreemptOff, mm: MmId) -> Free {
        Shootdown::last_drop(lazy, t, mm)
    }
}

/// Makes the flush that this CPU owes for the mm in `slot`, which it has been lazy on.
#[cold]
fn pay<M: Machine>(lazy: &LazyTlb<M>, t: &IrqsOff, slot: usize) {
    let mm = lazy.mms[slot].id();
    // None under the filter: a CPU that has left an mm is not waited for when it dies.
    if mm.is_some() {
        lazy.event(t, Event::Paid(mm));
        lazy.flush_here(t, mm, FlushRange::Translations);
    }
}
