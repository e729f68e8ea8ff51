//! The first seam: what the protocol asks of the machine under it.
//!
//! The kernel implements it with real instructions, the host with a model that
//! detects misuse (`crate::model`), loom with the same model.

use core::marker::PhantomData;

use crate::cpu::CpuId;
use crate::event::{Event, Stamp};
use crate::mm::MmId;
use crate::mm::flush::FlushRange;
use crate::task::TaskMm;

/// Proof that this thread cannot leave its CPU: preemption is off.
///
/// Made by the [`Machine`] and lent to a closure, so it cannot outlive what it
/// proves, nor travel to another CPU.
pub struct PreemptOff {
    cpu: CpuId,
    _not_send: PhantomData<*mut ()>,
}

impl PreemptOff {
    /// For a [`Machine`] that has just turned preemption off on `cpu`.
    pub fn new(cpu: CpuId) -> Self {
        Self { cpu, _not_send: PhantomData }
    }

    /// The CPU that we are on, and stay on.
    pub fn cpu(&self) -> CpuId {
        self.cpu
    }
}

/// Proof that interrupts are off on this CPU, which implies [`PreemptOff`].
pub struct IrqsOff(PreemptOff);

impl IrqsOff {
    /// For a [`Machine`] that has just turned interrupts off on `cpu`.
    pub fn new(cpu: CpuId) -> Self {
        Self(PreemptOff::new(cpu))
    }
}

impl core::ops::Deref for IrqsOff {
    type Target = PreemptOff;

    fn deref(&self) -> &PreemptOff {
        &self.0
    }
}

/// A named place between two steps of the protocol.
///
/// Under the model an IPI, a preemption or a migration may land there; in test
/// builds of the kernel a test holds a CPU there; in a release image it is
/// nothing. A point is no [`Event`], since it may block: it lies between two events and
/// is named after the one before it, or after what the function did last since. Some lie where interrupts must be off: there a test holds the CPU to
/// see that nothing lands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
#[allow(missing_docs, reason = "the names say where they are: function, then step")]
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
    ExitFlushKicked,
    MmdropLast,
    MmdropClean,
    MapperGrabbed,
    FlushDecided,
    KickArrived,
    KickFlushed,
    LeaveLazyHalf,
    CallPosted,
    CallWaiting,
    StopCpu,
    FinishSwitch,
}

/// Hardware, or the host's model of it.
pub trait Machine {
    /// Runs `f` with preemption off.
    fn with_preempt_off<R>(&self, f: impl FnOnce(&PreemptOff) -> R) -> R;

    /// Runs `f` with interrupts off, then restores them as they were.
    fn with_irqs_off<R>(&self, f: impl FnOnce(&IrqsOff) -> R) -> R;

    /// Whether this CPU takes interrupts now.
    fn irqs_enabled(&self) -> bool;

    /// The mm part of the task that runs on this CPU.
    fn current<'a>(&'a self, t: &'a PreemptOff) -> &'a TaskMm;

    /// Makes this CPU translate user addresses through `mm` (PIDR on radix).
    /// Whoever calls has set this CPU's bit in `mm`'s cpumask before.
    fn load_mm(&self, t: &IrqsOff, mm: MmId);

    /// The PID register, to check I1 against.
    fn loaded_pid(&self, t: &IrqsOff) -> crate::mm::Pid;

    /// Drops this CPU's translations of `mm` in `what`; complete on return.
    fn flush_local(&self, t: &PreemptOff, mm: MmId, what: FlushRange);

    /// Drops every CPU's (and coprocessor's) translations of `mm` in `what` by
    /// broadcast; complete on return.
    fn flush_global(&self, t: &PreemptOff, mm: MmId, what: FlushRange);

    /// Drops all that this CPU's TLB and walk caches hold, of every PID; complete on
    /// return. Who observes is told by the machine. No user mm is loaded.
    fn flush_cpu(&self, t: &IrqsOff);

    /// Interrupts `cpu`. Stores before this call are visible to its handler.
    fn send_ipi(&self, t: &PreemptOff, cpu: CpuId);

    /// One turn of a wait for other CPUs, interrupts on. `turn` counts from 0.
    fn relax(&self, turn: u64);

    /// Milliseconds since boot, for reports on waits that take too long.
    fn uptime_ms(&self) -> u64;

    /// How long a CPU may take to answer a call before that is fatal, in
    /// milliseconds.
    fn call_limit_ms(&self) -> u64 {
        crate::ipi::PANIC_AFTER_MS
    }

    /// `cpu` has not answered a call for `waited_ms`: say so, and go on.
    fn report_silent(&self, cpu: CpuId, waited_ms: u64);

    /// The last user of `mm` is gone: give back what it mapped. Called with
    /// preemption and interrupts on; calls back `exit_flush`.
    fn exit_mmap(&self, mm: MmId);

    /// No CPU has `mm` loaded and none can load it: free its root and what else
    /// the machine keeps for it. Its PID is reused after the return.
    fn free_mm(&self, mm: MmId);

    /// Runs `kernel.mmdrop(mm)` or, with `users`, `kernel.mmput(mm)` later, from
    /// a worker that may sleep.
    fn defer_drop(&self, mm: MmId, users: bool);

    /// A cross-call of the machine's own.
    fn machine_call(&self, t: &IrqsOff, a: u64, b: u64);

    /// A named place between two steps of the protocol.
    #[inline(always)]
    fn point(&self, _: Point) {}

    /// Something happens on this CPU. Returns the moment of it.
    #[inline(always)]
    fn observe(&self, _: &PreemptOff, _: Event) -> Stamp {
        Stamp::default()
    }
}
