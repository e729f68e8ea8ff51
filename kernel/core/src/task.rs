//! What the protocol keeps for a task.

use core::mem::offset_of;

use crate::cpu::PublishedMm;
use crate::machine::{IrqsOff, PreemptOff};
use crate::mm::MmId;
use crate::sync::SpinLock;

/// The mm part of a task.
///
/// | who | `mm` | `active_mm` |
/// |---|---|---|
/// | user task, running | its own | the same |
/// | kernel thread, idle or exiting task, running | none | what it borrows |
/// | kernel thread, descheduled (I2) | none | none |
///
/// Both are written only by the task itself or by the CPU that switches to or
/// from it, with interrupts off; the hand-off of a task between CPUs (`on_cpu`,
/// release and acquire) orders them.
#[derive(Default)]
#[repr(C)]
pub struct TaskMm {
    mm: PublishedMm,
    active_mm: PublishedMm,
    lock: TaskLock,
}

/// The task lock: whoever holds it may take a reference to another task's `mm`.
/// Innermost of all locks; interrupts may be on; never held over a cross-call.
struct TaskLock(SpinLock<()>);

impl Default for TaskLock {
    fn default() -> Self {
        Self(SpinLock::new(()))
    }
}

/// Byte offsets of a [`TaskMm`]'s fields, for debuggers.
#[allow(missing_docs, reason = "named after the fields")]
pub struct TaskMmLayout {
    pub mm: usize,
    pub active_mm: usize,
}

impl TaskMm {
    /// Where debuggers find what.
    pub const LAYOUT: TaskMmLayout =
        TaskMmLayout { mm: offset_of!(TaskMm, mm), active_mm: offset_of!(TaskMm, active_mm) };

    /// A kernel thread's: no address space of its own.
    pub fn kernel() -> Self {
        Self::default()
    }

    /// A user task's, not yet run. The caller's unit of `mm_users` goes with it.
    pub fn user(mm: MmId) -> Self {
        let task = Self::default();
        task.mm.set(mm);
        task.active_mm.set(mm);
        task
    }

    /// The address space that the task owns a share of, or none.
    pub fn mm(&self) -> MmId {
        self.mm.own()
    }

    /// The address space that is loaded while the task runs; none for a
    /// descheduled kernel thread.
    pub fn active_mm(&self) -> MmId {
        self.active_mm.own()
    }

    pub(crate) fn set_mm(&self, _: &IrqsOff, mm: MmId) {
        self.mm.set(mm);
    }

    pub(crate) fn set_active_mm(&self, _: &IrqsOff, mm: MmId) {
        self.active_mm.set(mm);
    }

    /// Runs `f` with the task lock held: `mm` stays what it is meanwhile.
    pub(crate) fn locked<R>(&self, t: &PreemptOff, f: impl FnOnce() -> R) -> R {
        self.lock.0.with(t, |()| f())
    }
}
