//! What the protocol keeps for a task.

use core::mem::offset_of;

use crate::cpu::PublishedMm;
use crate::machine::{IrqsOff, PreemptOff};
use crate::mm::MmId;
use crate::sync::SpinLock;

/// The mm part of a task.
///
/// | task | `mm` | `active_mm` |
/// |---|---|---|
/// | user task, running or descheduled | its own | its own |
/// | kernel thread, idle or exiting task, running | none | what it borrows |
/// | kernel thread, descheduled (I2) | none | none |
///
/// Under the policy loaded `active_mm` is always none, and the CPU's word is asked instead
/// ([`CpuState::active_mm`](crate::cpu::CpuState::active_mm)).
///
/// The task itself and the CPU that switches to or from it write the two fields, with
/// interrupts off. Nobody else does. The hand-off of a task between CPUs (`on_cpu`: F22) orders the writes
/// of one CPU before those of the next.
#[derive(Default)]
#[repr(C)]
pub struct TaskMm {
    mm: PublishedMm,
    active_mm: PublishedMm,
    lock: TaskLock,
}

/// The task lock. A task that holds it may take a reference to another task's `mm`.
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
    /// Where debuggers find the fields.
    pub const LAYOUT: TaskMmLayout =
        TaskMmLayout { mm: offset_of!(TaskMm, mm), active_mm: offset_of!(TaskMm, active_mm) };

    /// The mm part of a kernel thread, which owns no address space.
    pub fn kernel() -> Self {
        Self::default()
    }

    /// The mm part of a user task: for [`LazyTlb::user_task`](crate::LazyTlb::user_task).
    pub(crate) fn user(mm: MmId, active_mm: MmId) -> Self {
        let task = Self::default();
        task.mm.set(mm);
        task.active_mm.set(active_mm);
        task
    }

    /// The address space that the task owns a share of, or none.
    pub fn mm(&self) -> MmId {
        self.mm.own()
    }

    /// The address space that is loaded while the task runs; none for a
    /// descheduled kernel thread, and for every task under the policy loaded.
    pub fn active_mm(&self) -> MmId {
        self.active_mm.own()
    }

    pub(crate) fn set_mm(&self, _: &IrqsOff, mm: MmId) {
        self.mm.set(mm);
    }

    pub(crate) fn set_active_mm(&self, _: &IrqsOff, mm: MmId) {
        self.active_mm.set(mm);
    }

    /// Runs `f` with the task lock held: nothing but `f` changes `mm` meanwhile.
    pub(crate) fn locked<R>(&self, t: &PreemptOff, f: impl FnOnce() -> R) -> R {
        self.lock.0.with(t, |()| f())
    }
}
