//! The shadow TLB oracle at work, in test builds: one [`Slot`] per PID, one [`Shadow`] per
//! address space.
//!
//! It sees every store to an entry of a tree or of the process table (`tree.rs`), and the
//! protocol's loads and flushes (`Probe::observe`). The frame allocator asks it whether a freed
//! frame may be reused. The unlock of an `mmap_lock` asks it whether a CPU may still hold
//! translations that were taken away under the lock. A violation ends the machine, with the
//! history of the PID. Other builds have no oracle.
//!
//! Its locks order more than the protocol does, so it does not prove fences: those
//! are the model checker's.

mod frames;
mod tree;

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt::{self, Display};
use core::ops::Range;

use arch::addr::PhysAddr;
use arch::{mmu, percpu};
use kcore::cpu::{CpuId, CpuMask};
use kcore::event::{Event, Stamp};
use kcore::machine::PreemptOff;
use kcore::mm::MmId;
use shadow_tlb::{Holder, Record, Shadow, Slot, Violation};
use trace_format::{Body, Kind};

use crate::machine::lazy_tlb;
use crate::sync::{Fixed, IrqLock};
use crate::{println, trace};
use frames::Frames;
pub(crate) use tree::frame_freed;

/// Whether this build has the oracle.
const ON: bool = cfg!(feature = "selftest");

/// Every address, for the lock of the whole address space.
const ALL: Range<u64> = 0..u64::MAX;

/// A PID, and the root of the tree that it has.
#[derive(Default)]
struct Watched {
    slot: Slot,
    root: Option<PhysAddr>,
}

/// By PID. Only the heap's lock is taken inside each lock, to make and free a shadow.
static SLOTS: Fixed<Box<[IrqLock<Watched>]>> = Fixed::unset();
static FRAMES: Fixed<Frames> = Fixed::unset();
/// The CPUs that started and have not flushed their TLB since; each sets and clears its own bit.
static UNFLUSHED: Fixed<CpuMask> = Fixed::unset();

/// Makes room for PIDs below `pids` and for `frames` page frames. Once, on the boot CPU,
/// heap up, before the first address space.
pub(crate) fn init(pids: usize, frames: usize) {
    if ON {
        let slot = |_| IrqLock::new("a shadow TLB", Watched::default());
        // SAFETY: the boot CPU is alone.
        unsafe {
            SLOTS.set((0..pids).map(slot).collect());
            FRAMES.set(Frames::new(frames));
            UNFLUSHED.set(CpuMask::default());
        }
        mmu::observer::install(&tree::OBSERVER);
    }
}

fn slots() -> &'static [IrqLock<Watched>] {
    &SLOTS
}

/// Observes the protocol; any context. The oracle uses the events that change what a TLB may
/// hold.
#[inline(always)]
pub(crate) fn observe(t: &PreemptOff, event: Event) -> Stamp {
    let cpu = t.cpu();
    match event {
        _ if !ON => {}
        Event::Load(mm) => check(mm.slot(), |slot| slot.load(cpu, UNFLUSHED.test(cpu))),
        Event::Leave(mm) => ask(mm.slot(), |shadow| shadow.leave(cpu)),
        Event::Ended(mm, _) => {
            check(mm.slot(), |slot| slot.shadow().map_or(Ok(()), |shadow| shadow.laziness_ended(cpu)));
        }
        Event::Spared { mm, cpu: lazy, since } => ask(mm.slot(), |shadow| shadow.spared(cpu, lazy, since)),
        Event::FlushBegins(mm) => return ask(mm.slot(), Shadow::flush_begins),
        Event::FlushLocal(mm, what, began) => {
            ask(mm.slot(), |shadow| shadow.flush_local(cpu, what, began));
        }
        Event::FlushGlobal(mm, what, began) => {
            ask(mm.slot(), |shadow| shadow.flush_global(cpu, what, began));
        }
        Event::Dead(mm) => {
            check(mm.slot(), |slot| slot.free(cpu));
            tree::tree_ended(mm);
        }
        _ => {}
    }
    Stamp::default()
}

/// This CPU has started, with unknown contents of its TLB.
pub(crate) fn cpu_started(t: &PreemptOff) {
    if ON {
        UNFLUSHED.get().set(t.cpu());
    }
}

/// This CPU has flushed all PIDs from its TLB.
pub(crate) fn cpu_flushed(t: &PreemptOff) {
    if ON {
        for slot in 0..slots().len() {
            ask(slot, |shadow| shadow.flush_cpu(t.cpu()));
        }
        UNFLUSHED.clear(t.cpu());
    }
}

/// A coprocessor, counted by `copro_attach`, is about to translate through `mm`.
#[cfg(feature = "selftest")]
pub(crate) fn copro_load(mm: MmId) {
    if ON {
        ask(mm.slot(), |shadow| shadow.copro_load(cpu_here()));
    }
}

/// A coprocessor does not translate through `mm` any more.
#[cfg(feature = "selftest")]
pub(crate) fn copro_leave(mm: MmId) {
    if ON {
        ask(mm.slot(), |shadow| shadow.copro_leave(cpu_here()));
    }
}

/// The address space of `mm` is about to be unlocked: checks that no CPU may hold translations
/// that were taken away under the lock.
#[inline(always)]
pub(crate) fn unlocked(mm: MmId) {
    if ON && mm.is_some() {
        check(mm.slot(), |slot| slot.shadow().map_or(Ok(()), |shadow| shadow.settled(cpu_here(), ALL)));
    }
}

/// How many bytes the oracle takes in every run: for PIDs, and for page frames.
#[cfg(feature = "selftest")]
pub(crate) fn fixed_bytes() -> (usize, usize) {
    (size_of_val(&**SLOTS), FRAMES.bytes())
}

/// The CPU that reports an event. If the task moves meanwhile, the history names the CPU before
/// the move.
fn cpu_here() -> CpuId {
    percpu::cpu_id()
}

/// Calls `f` with the shadow of the mm in `slot`, if there is one, and returns its answer.
fn ask<R: Default>(slot: usize, f: impl FnOnce(&mut Shadow) -> R) -> R {
    let mut answer = R::default();
    check(slot, |slot| {
        answer = slot.shadow().map(f).unwrap_or_default();
        Ok(())
    });
    answer
}

/// Calls `f` with `slot`: a violation ends the machine. Frames that no CPU can reach any more are
/// disconnected.
fn check(slot: usize, f: impl FnOnce(&mut Slot) -> Result<(), Violation>) {
    // `init_mm` has no tables and is never freed, and all CPUs load it all the time: they would
    // contend for its lock.
    if slot == MmId::INIT_MM.slot() {
        return;
    }
    let (found, released) = {
        let mut watched = slots()[slot].lock();
        (f(&mut watched.slot), watched.slot.shadow().map(Shadow::take_released).unwrap_or_default())
    };
    released.into_iter().for_each(|frame| FRAMES.disconnect(frame));
    // Outside the lock: printing may be interrupted, and CPUs that go on meanwhile would wait for
    // the lock.
    if let Err(violation) = found {
        accuse_holder(slot, &violation);
    }
}

#[cold]
fn accuse_holder(slot: usize, violation: &Violation) -> ! {
    tell_history(slot, Some(violation.holder));
    end(slot, violation);
}

/// Prints the history of the PID, then ends the machine.
#[cold]
fn accuse(slot: usize, what: fmt::Arguments<'_>) -> ! {
    tell_history(slot, None);
    end(slot, &what);
}

fn end(slot: usize, what: &dyn Display) -> ! {
    let mm = lazy_tlb().mms()[slot].id();
    trace::note!(Kind::Oracle, Body::about(Kind::Oracle, mm.to_bits()));
    panic!("oracle: {:?}: {what}", mm);
}

/// Prints the events of the PID, those of `offender` marked.
fn tell_history(slot: usize, offender: Option<Holder>) {
    let mut records: Vec<Record> = Vec::new();
    ask(slot, |shadow| records.extend(shadow.history()));
    println!("oracle: the last {} events of PID {slot}:", records.len());
    for record in &records {
        let mark = if offender == Some(Holder::Cpu(record.cpu)) { '>' } else { ' ' };
        println!("oracle: {mark} {record}");
    }
}
