//! The first seam: what the protocol asks of the machine under it.
//!
//! Four traits: hardware answers [`Cpu`] and [`Mmu`], the kernel around the protocol
//! answers [`Host`], and tests answer [`Probe`]. The kernel implements them with real
//! instructions. In host tests and under loom a model implements them, which detects
//! misuse (`crate::model`). docs/porting.md says what a port writes.

mod tokens;

use crate::cpu::CpuId;
use crate::event::{Event, Reference, Stamp};
use crate::mm::flush::FlushRange;
use crate::mm::{MmId, Pid};
use crate::task::TaskMm;

pub use tokens::{IrqsOff, PreemptOff};

/// A named place between two steps of the protocol.
///
/// Under the model an IPI, a preemption or a migration may land at a point. In test
/// builds of the kernel a test holds a CPU there. In a release image it is nothing. A
/// point may block, so it is no [`Event`]. Some points lie where interrupts must be off:
/// there a test holds the CPU to see that no IPI lands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
#[allow(missing_docs, reason = "a name says where its point is: the function, then the step that is done")]
pub enum Point {
    ExitMmLocked,
    GiveUpHalf,
    ExitMmBorrowed,
    EnterMm,
    ExecMmapSwitched,
    EnterMmHalf,
    UseMmGrabbed,
    UseMmSwitched,
    UnuseMmBorrowed,
    MmputLast,
    ExitEvicted,
    MmdropLast,
    MmdropClean,
    MapperGrabbed,
    FlushDecided,
    EvictArrived,
    EvictFlushed,
    LeaveLazyHalf,
    CallPosted,
    CallWaiting,
    StopCpu,
    SettleSwitch,
}

/// One CPU among others: its sections without preemption or interrupts, and its IPIs.
///
/// # Safety
/// A token is lent only while what it proves is true. A section leaves preemption and
/// interrupts as it found them. Stores before `send_ipi` are visible to the handler.
#[allow(unsafe_code, reason = "a contract in words")]
pub unsafe trait Cpu {
    /// Runs `f` with preemption off.
    fn with_preempt_off<R>(&self, f: impl FnOnce(&PreemptOff) -> R) -> R;

    /// Runs `f` with interrupts off, then restores them as they were.
    fn with_irqs_off<R>(&self, f: impl FnOnce(&IrqsOff) -> R) -> R;

    /// Whether this CPU takes interrupts now.
    fn irqs_enabled(&self) -> bool;

    /// Interrupts `cpu`. Stores before this call are visible to its handler.
    fn send_ipi(&self, t: &PreemptOff, cpu: CpuId);

    /// One turn of a wait for other CPUs, interrupts on. `turn` counts from 0.
    fn relax(&self, turn: u64);
}

/// How this CPU translates user addresses, and what its caches keep of that.
///
/// # Safety
/// Memory that is freed after a flush may be reused at once. So on return of a flush, no
/// CPU that it reaches translates by what the tables held before, or walks through tables
/// that were cut off before. `load_mm` and `disconnect` do what they say on return, and
/// `loaded_pid` says what is loaded.
#[allow(unsafe_code, reason = "a contract in words")]
pub unsafe trait Mmu {
    /// Whether `flush_global` works. Where it does not, every flush of other CPUs is a
    /// cross-call, and no coprocessor can be attached.
    const BROADCASTS: bool;

    /// Makes this CPU translate user addresses through `mm` (PIDR on radix). The caller
    /// has set this CPU's bit in `mm`'s cpumask before. Takes no lock and cannot fail: it
    /// finds what it needs by the id alone.
    fn load_mm(&self, t: &IrqsOff, mm: MmId);

    /// What `load_mm` has loaded, to check I1 against.
    fn loaded_pid(&self, t: &IrqsOff) -> Pid;

    /// A full barrier. It also orders this CPU's earlier stores before its later table
    /// walks.
    fn order_mask_before_walks(&self, t: &IrqsOff);

    /// Drops this CPU's translations of `mm` in `what`; complete on return. Orders this
    /// CPU's earlier stores to the tables before the flush.
    fn flush_local(&self, t: &PreemptOff, mm: MmId, what: FlushRange);

    /// Drops every CPU's (and coprocessor's) translations of `mm` in `what` by broadcast;
    /// complete on return. Orders stores to the tables like `flush_local`.
    fn flush_global(&self, t: &PreemptOff, mm: MmId, what: FlushRange);

    /// Drops all that this CPU's TLB and walk caches hold, of every PID; complete on
    /// return. The machine reports it to its observers. No user mm is loaded.
    fn flush_cpu(&self, t: &IrqsOff);

    /// Cuts the user tables of `mm` off: a CPU that is lazy on it, or will be, begins no
    /// walk through them after its next flush of [`FlushRange::Everything`]. The mm stays
    /// loadable. It has no users, so no CPU accesses user memory through it. Where a CPU
    /// finds the root by a table (the process table of POWER), its entry is cleared;
    /// where a CPU holds the root itself, the root's user half is emptied.
    fn disconnect(&self, mm: MmId);
}

/// The kernel around the protocol: tasks, memory, messages.
///
/// # Safety
/// `current` is the task that runs on this CPU. `free_user_memory` and `free_mm` free what
/// is `mm`'s and nothing else.
#[allow(unsafe_code, reason = "a contract in words")]
pub unsafe trait Host {
    /// The mm part of the task that runs on this CPU.
    fn current<'a>(&'a self, t: &'a PreemptOff) -> &'a TaskMm;

    /// Frees what `mm` maps, and its tables but the root: they are cut off and flushed.
    /// Preemption and interrupts are on.
    fn free_user_memory(&self, mm: MmId);

    /// No CPU has `mm` loaded and none can load it: frees its root and what else
    /// the machine keeps for it. Its PID is reused after the return.
    fn free_mm(&self, mm: MmId);

    /// A cross-call of the machine's own.
    fn machine_call(&self, t: &IrqsOff, a: u64, b: u64);

    /// Milliseconds since boot, for reports on waits that take too long.
    fn uptime_ms(&self) -> u64;

    /// A clock for statistics, which never goes back.
    fn ticks(&self) -> u64 {
        0
    }

    /// How long a CPU may take to answer a call before that is fatal, in
    /// milliseconds.
    fn call_limit_ms(&self) -> u64 {
        crate::ipi::PANIC_AFTER_MS
    }

    /// `cpu` has not answered a call for `waited_ms`: reports it, and goes on.
    fn report_silent(&self, cpu: CpuId, waited_ms: u64);
}

/// Where tests watch and interfere. In a release image it does nothing.
pub trait Probe {
    /// A named place between two steps of the protocol.
    #[inline(always)]
    fn point(&self, _: Point) {}

    /// A count of the mm changes, but for a borrow. Any context.
    #[inline(always)]
    fn refers(&self, _: MmId, _: Reference) {}

    /// Something happens on this CPU. Returns the moment of it.
    #[inline(always)]
    fn observe(&self, _: &PreemptOff, _: Event) -> Stamp {
        Stamp::default()
    }
}

/// All four: what the protocol runs on.
pub trait Machine: Cpu + Mmu + Host + Probe {}

impl<T: Cpu + Mmu + Host + Probe> Machine for T {}
