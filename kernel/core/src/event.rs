//! What happens in the protocol: one vocabulary for the counters and for observers.
//!
//! A site reports once what happens there, through [`LazyTlb::event`]. The counters count
//! it (`Counters::count` is the table), then the machine's observer gets it. In a release
//! build that is the trace alone: there an event that no counter counts costs a nop.

use crate::LazyTlb;
use crate::counters::Counters;
use crate::cpu::{CpuId, CpuSet, CpuState};
use crate::ipi::{Asks, Call};
use crate::machine::{Machine, PreemptOff};
use crate::membarrier::Command;
use crate::mm::MmId;
use crate::mm::flush::{FlushRange, Reach};
use crate::switch::Arm;

pub use trace_format::Why;

/// Something that happens on this CPU.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event<'a> {
    /// A context switch begins. `from` is what is loaded; `to` is what the next task owns.
    Switch {
        /// Which way it goes.
        arm: Arm,
        /// Loaded before.
        from: MmId,
        /// None for a kernel thread.
        to: MmId,
    },
    /// A borrow has begun.
    Borrow(MmId),
    /// A borrow has ended: the next address space is loaded.
    Ended(MmId, Why),
    /// A borrow takes a unit of `mm_count`.
    GrabLazy(MmId),
    /// A borrow that has ended gives its unit of `mm_count` back.
    DropLazy(MmId),
    /// The PID register is about to name the mm; this CPU's bit in the mask is set.
    Load(MmId),
    /// The PID register does not name the mm any more.
    Leave(MmId),
    /// This CPU has set its bit in the mask.
    MaskSet(MmId),
    /// This CPU is about to clear its bit in the mask.
    MaskCleared(MmId),
    /// A flush asks other CPUs to leave the mm if they are lazy on it.
    Evict {
        /// The mm to leave.
        mm: MmId,
        /// Why they are asked.
        cause: Cause,
        /// Which CPUs; an [`Event::Ipi`] for each follows.
        cpus: &'a CpuSet,
    },
    /// The last `mmdrop` has looked for CPUs that have published a borrow.
    Scan {
        /// The dying mm.
        mm: MmId,
        /// Those that it has found.
        cpus: &'a CpuSet,
    },
    /// The last `mmdrop` makes other CPUs leave the mm.
    Shoot {
        /// The dying mm.
        mm: MmId,
        /// Which CPUs; an [`Event::Ipi`] for each follows.
        cpus: &'a CpuSet,
    },
    /// The last `mmdrop` has made this CPU leave the mm.
    ShotSelf(MmId),
    /// A CPU gets no IPI about the mm, because it has another one loaded.
    Filtered(MmId, CpuId),
    /// A cross-call is about to be posted to its targets.
    Posted {
        /// What they are asked for.
        asks: Asks,
    },
    /// An IPI is sent for a cross-call.
    Ipi {
        /// The target.
        to: CpuId,
        /// What it is asked for.
        asks: Asks,
    },
    /// The IPIs of a cross-call are sent.
    Sent {
        /// What the targets are asked for.
        call: Call,
        /// How many IPIs.
        ipis: u64,
    },
    /// All targets of a cross-call of this CPU have run it, or are offline.
    Answered(Asks),
    /// An IPI has arrived.
    Interrupted,
    /// A cross-call is about to run here.
    Called {
        /// The initiator, which waits.
        by: CpuId,
        /// What it asks for.
        call: Call,
        /// … as its record has it.
        asks: Asks,
    },
    /// A cross-call has run here, and its initiator is about to be told.
    Answers {
        /// The initiator.
        by: CpuId,
    },
    /// The mailbox was empty: the IPI came to reschedule, or to look at a signal.
    NotCalled,
    /// How far a flush reaches is decided, and lazy CPUs have been evicted for it.
    Flush {
        /// The mm to flush.
        mm: MmId,
        /// What is dropped of it.
        what: FlushRange,
        /// How far.
        reach: Reach,
    },
    /// A flush leaves a CPU out, because it is lazy on the mm. From now on that CPU owes a
    /// flush for what was changed before the moment `since`.
    Spared {
        /// The mm that is flushed.
        mm: MmId,
        /// The CPU that is lazy on it.
        cpu: CpuId,
        /// The answer to the [`Event::FlushBegins`] before.
        since: Stamp,
    },
    /// This CPU is about to make the flush of the mm that it owes.
    Paid(MmId),
    /// Invalidations are about to begin here. The observer answers with a moment, which
    /// the event of their end carries.
    FlushBegins(MmId),
    /// This CPU has dropped what it may have cached of the mm since that moment.
    FlushLocal(MmId, FlushRange, Stamp),
    /// Every CPU has dropped what it may have cached of the mm since that moment.
    FlushGlobal(MmId, FlushRange, Stamp),
    /// The mm has its slot and its first user.
    Created(MmId),
    /// The last user is gone, and the exit's final flush begins.
    Zombie(MmId),
    /// The last reference is gone.
    Dying(MmId),
    /// No CPU has the mm loaded: its root and its PID are about to be freed.
    Dead(MmId),
    /// The root and all else that the machine kept is freed; the slot is next.
    Freed(MmId),
    /// This CPU has joined the protocol.
    Online,
    /// This CPU is about to leave the protocol.
    Offline,
    /// A membarrier begins.
    Membarrier {
        /// The mm of the caller.
        mm: MmId,
        /// Which.
        command: Command,
    },
}

/// A change of an mm's counts, but for a borrow. It is recorded after a unit is taken, and before one is
/// given back: so no record tells of more units given back than taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reference {
    /// A unit of `mm_users` is taken.
    Get,
    /// … for a task that is made.
    GetForTask,
    /// A unit of `mm_users` is about to be given back.
    Put,
    /// A unit of `mm_count` is taken.
    Grab,
    /// A unit of `mm_count` is about to be given back.
    Drop,
    /// The unit of `mm_count` that all users share is about to be given back.
    DropShared,
}

/// Why lazy CPUs are asked to leave.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cause {
    /// An exit, before its final flush: the mm is about to die.
    Exit,
    /// To make this flush and the later ones local.
    Trim,
}

impl Cause {
    /// Why the borrow of a CPU that leaves for it ends.
    pub(crate) fn why(self) -> Why {
        match self {
            Cause::Exit => Why::Kick,
            Cause::Trim => Why::Trim,
        }
    }
}

/// A moment in an observer's order of events.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Debug)]
pub struct Stamp(u64);

impl Stamp {
    /// Before all others.
    pub const FIRST: Stamp = Stamp(0);
    /// After all others: a moment that does not come.
    pub const NEVER: Stamp = Stamp(u64::MAX);

    /// The moment number `n`.
    pub const fn new(n: u64) -> Self {
        Self(n)
    }
}

impl core::fmt::Display for Stamp {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "#{}", self.0)
    }
}

impl<M: Machine> LazyTlb<M> {
    /// `event` happens here: counts it and shows it to the observer. Returns the
    /// observer's moment of it. Inlined, so that a site contains only the counter of its
    /// own event.
    #[inline(always)]
    pub fn event(&self, t: &PreemptOff, event: Event) -> Stamp {
        Counters::count(|| &self.this_cpu(t).counters, event);
        self.machine.observe(t, event)
    }

    /// [`LazyTlb::event`] for hot paths, which have this CPU's state, `me`, at hand.
    #[inline(always)]
    pub(crate) fn event_of(&self, me: &CpuState, t: &PreemptOff, event: Event) -> Stamp {
        Counters::count(|| &me.counters, event);
        self.machine.observe(t, event)
    }
}
