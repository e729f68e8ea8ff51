//! The shadow TLB oracle at work, in test builds: one [`Slot`] a PID, one [`Shadow`]
//! an address space.
//!
//! The protocol tells it of loads and flushes (`Machine::observe`), memory
//! management of what it takes out of the page tables and frees. If a CPU may still
//! hold that, the machine ends here, with the history of the PID. In other builds
//! nothing of this is left.
//!
//! Its locks order more than the protocol does, so it does not prove fences: those
//! are the model checker's.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ops::Range;

use kcore::cpu::{CpuId, CpuMask};
use kcore::machine::{Machine, PreemptOff, Stamp, TlbEvent};
use kcore::mm::MmId;
use kcore::oracle::{Holder, Record, Shadow, Slot, Violation};

use crate::machine::lazy_tlb;
use crate::println;
use crate::sync::{Fixed, IrqLock};

/// Whether it is there at all.
const ON: bool = cfg!(feature = "selftest");

/// By PID. Of each lock only the heap's is inside: a shadow comes and goes.
static SLOTS: Fixed<Box<[IrqLock<Slot>]>> = Fixed::unset();
/// The CPUs that started and have not flushed their TLB since; each sets and clears
/// its own bit.
static UNFLUSHED: Fixed<CpuMask> = Fixed::unset();

/// Makes room for PIDs below `pids`. Once, on the boot CPU, heap up.
pub(crate) fn init(pids: usize) {
    if ON {
        let slot = |_| IrqLock::new("a shadow TLB", Slot::default());
        // SAFETY: the boot CPU is alone.
        unsafe {
            SLOTS.set((0..pids).map(slot).collect());
            UNFLUSHED.set(CpuMask::default());
        }
    }
}

/// What the protocol tells; any context.
#[inline(always)]
pub(crate) fn observe(t: &PreemptOff, event: TlbEvent) -> Stamp {
    if ON { observe_always(t.cpu(), event) } else { Stamp::default() }
}

fn observe_always(cpu: CpuId, event: TlbEvent) -> Stamp {
    let mut at = Stamp::default();
    match event {
        TlbEvent::Load(mm) => check(mm, |slot| slot.load(cpu, UNFLUSHED.test(cpu))),
        TlbEvent::Leave(mm) => with(mm, |shadow| shadow.leave(cpu)),
        TlbEvent::FlushBegins(mm) => with(mm, |shadow| at = shadow.now()),
        TlbEvent::FlushLocal(mm, what, began) => with(mm, |shadow| shadow.flush_local(cpu, what, began)),
        TlbEvent::FlushGlobal(mm, what, began) => with(mm, |shadow| shadow.flush_global(cpu, what, began)),
        TlbEvent::Free(mm) => check(mm, |slot| slot.free(cpu)),
    }
    at
}

/// This CPU has started, with whatever is in its TLB.
pub(crate) fn cpu_started(t: &PreemptOff) {
    if ON {
        UNFLUSHED.get().set(t.cpu());
    }
}

/// This CPU has dropped everything of every PID.
pub(crate) fn cpu_flushed(t: &PreemptOff) {
    if ON {
        for slot in SLOTS.iter() {
            if let Some(shadow) = slot.lock().shadow() {
                shadow.flush_cpu(t.cpu());
            }
        }
        UNFLUSHED.clear(t.cpu());
    }
}

/// A coprocessor, counted by `copro_attach`, is about to translate through `mm`.
pub(crate) fn copro_load(mm: MmId) {
    if ON {
        here(|cpu| with(mm, |shadow| shadow.copro_load(cpu)));
    }
}

/// A coprocessor does not translate through `mm` any more.
pub(crate) fn copro_leave(mm: MmId) {
    if ON {
        here(|cpu| with(mm, |shadow| shadow.copro_leave(cpu)));
    }
}

/// `mm`, new, is about to get its process-table entry.
pub(crate) fn set_entry(mm: MmId) {
    if ON {
        here(|cpu| check(mm, |slot| slot.set_entry(cpu, lazy_tlb().nr_cpus())));
    }
}

/// The process-table entry of `mm` was cleared.
pub(crate) fn clear_entry(mm: MmId) {
    if ON {
        here(|cpu| with(mm, |shadow| shadow.clear_entry(cpu)));
    }
}

/// The moment after which nothing is in the page tables of `mm` any more that the
/// caller took out: between the stores and the flush.
#[inline(always)]
pub(crate) fn removed(mm: MmId) -> Stamp {
    let mut at = Stamp::default();
    if ON {
        with(mm, |shadow| at = shadow.now());
    }
    at
}

/// Frames that `mm` had in `span` until `removed` are about to be freed.
#[inline(always)]
pub(crate) fn free_frames(mm: MmId, span: Range<u64>, removed: Stamp) {
    if ON {
        here(|cpu| ask(mm, |shadow| shadow.free_frames(cpu, span, removed)));
    }
}

/// Tables that `mm` had until `removed` are about to be freed.
#[inline(always)]
pub(crate) fn free_tables(mm: MmId, removed: Stamp) {
    if ON {
        here(|cpu| ask(mm, |shadow| shadow.free_tables(cpu, removed)));
    }
}

/// How many bytes the oracle takes whatever runs.
pub(crate) fn fixed_bytes() -> usize {
    size_of_val(&**SLOTS)
}

/// Runs `f` on the CPU that it is given.
fn here(f: impl FnOnce(CpuId)) {
    lazy_tlb().machine.with_preempt_off(|t| f(t.cpu()));
}

/// Tells the shadow of `mm`.
fn with(mm: MmId, f: impl FnOnce(&mut Shadow)) {
    ask(mm, |shadow| {
        f(shadow);
        Ok(())
    });
}

/// Tells the shadow of `mm`, and believes what it says.
fn ask(mm: MmId, f: impl FnOnce(&mut Shadow) -> Result<(), Violation>) {
    check(mm, |slot| slot.shadow().map_or(Ok(()), f));
}

/// The same of its slot.
fn check(mm: MmId, f: impl FnOnce(&mut Slot) -> Result<(), Violation>) {
    // `init_mm` has no tables and is never freed, and every CPU loads it all the
    // time: its lock would be the one that all CPUs meet at.
    if mm == MmId::INIT_MM {
        return;
    }
    // Out of the lock, since what prints may be interrupted, and the CPUs that
    // go on meanwhile would wait for it.
    let found = f(&mut SLOTS[mm.slot()].lock());
    if let Err(violation) = found {
        accuse(mm, &violation);
    }
}

/// Tells the history of the PID, then ends the machine.
#[cold]
fn accuse(mm: MmId, violation: &Violation) -> ! {
    let mut records: Vec<Record> = Vec::new();
    with(mm, |shadow| records.extend(shadow.history()));
    println!("oracle: the last {} events of PID {}:", records.len(), mm.pid().get());
    for record in &records {
        let mark = if violation.holder == Holder::Cpu(record.cpu) { '>' } else { ' ' };
        println!("oracle: {mark} {record}");
    }
    panic!("oracle: {mm:?}: {violation}");
}
