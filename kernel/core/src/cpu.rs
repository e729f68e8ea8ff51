//! What the protocol keeps for each CPU.

use crate::counters::Counters;
use crate::ipi::CallRecord;
use crate::mm::MmId;
use crate::sync::{AtomicU32, AtomicU64, Ordering};

pub use crate::cpuset::{CpuId, CpuMask, CpuSet, MAX_CPUS};

/// What the protocol keeps for one CPU. `repr(C)`: debuggers read it by offset.
///
/// Fields that other CPUs write have lines of 128 bytes of their own.
#[repr(C, align(128))]
#[derive(Default)]
pub struct CpuState {
    /// `current.mm` of the task that runs here, published so that other CPUs need not
    /// follow pointers. Written by this CPU only, with interrupts off.
    pub curr_mm: PublishedMm,
    /// The address space that this CPU has loaded: `current.active_mm`. Written by this
    /// CPU only, with interrupts off, *after* the PID register.
    pub active_mm: PublishedMm,
    /// `rq.prev_mm`: what kernel→user switched away from, between the two halves of a
    /// switch. A token: its mm may be gone, except under refcount.
    pub prev_mm: PublishedMm,
    /// What the policy keeps for this CPU; zero at first. The policy's file says what the
    /// words mean, and which CPU writes them.
    pub policy_words: [AtomicU64; 2],
    /// Ticks since the trim clock was last due; see [`crate::Config::trim_period`].
    pub trim_clock: AtomicU32,
    /// What this CPU asks of other CPUs. It waits for the answers, so one record is
    /// enough.
    pub call: CallRecord,
    /// The CPUs whose `call` this CPU has yet to run. Written by every CPU.
    pub mailbox: Mailbox,
    /// Statistics, written by this CPU.
    pub counters: Counters,
}

/// A mailbox on lines of its own: every other CPU writes it.
#[repr(C, align(128))]
#[derive(Default)]
pub struct Mailbox(pub CpuMask);

/// An [`MmId`] that one CPU writes, and others may read. Each way to access it has a
/// name.
#[repr(transparent)]
pub struct PublishedMm(AtomicU64);

impl Default for PublishedMm {
    fn default() -> Self {
        Self(AtomicU64::new(MmId::NONE.to_bits()))
    }
}

impl PublishedMm {
    /// The id last stored, by the CPU that writes it.
    pub(crate) fn own(&self) -> MmId {
        self.peek()
    }

    /// An id stored by another CPU, perhaps not the last. Relaxed: a named fence stands
    /// beside the call, or nothing depends on the answer.
    pub fn peek(&self) -> MmId {
        MmId::from_bits(self.0.load(Ordering::Relaxed))
    }

    /// An id stored by another CPU. Orders what the writer did before
    /// [`PublishedMm::publish`] before what follows here.
    pub(crate) fn observe(&self) -> MmId {
        MmId::from_bits(self.0.load(Ordering::Acquire))
    }

    /// Stores `mm`. Relaxed: a named fence stands beside the call, or no other CPU reads
    /// it.
    pub(crate) fn set(&self, mm: MmId) {
        self.0.store(mm.to_bits(), Ordering::Relaxed);
    }

    /// Stores `mm`. Orders all that this CPU did before the store.
    pub(crate) fn publish(&self, mm: MmId) {
        self.0.store(mm.to_bits(), Ordering::Release);
    }
}
