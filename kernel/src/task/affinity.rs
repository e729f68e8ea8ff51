//! Where a task may run, and moving it when that changes.
//!
//! ```text
//! set_affinity                        placement::queue
//! store the affinity                  task.cpu = X; push to X
//! full barrier                        full barrier
//! task.cpu forbidden? move it         X forbidden now? choose another
//! ```
//! At least one of the two sees the other's store. A CPU that goes offline is forbidden to all
//! tasks, so the diagram holds for it too. A task that *runs* on a forbidden CPU is left by the
//! next `schedule` there, which hands it on when its stack is free.

use core::sync::atomic::{Ordering, fence};

use kcore::cpu::CpuSet;

use super::cpu::{self, Cpu, ONLINE};
use super::descriptor::Task;
use super::online_cpus;
use super::resched::resched;
use super::window::Window;
use crate::sync::{SpinLock, preempt};

/// None of the CPUs asked for is online.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct NoOnlineCpu;

/// One change of affinity at a time. Nests outside the run queues.
static CHANGE: SpinLock<()> = SpinLock::new("a change of affinity", ());

/// Lets `task` run on the CPUs of `set` only, at once: if it is the current task,
/// it is on one of them on return. Interrupts and preemption on.
pub(crate) fn set_affinity(task: &Task, set: &CpuSet) -> Result<(), NoOnlineCpu> {
    if set.and(&online_cpus()).is_empty() {
        return Err(NoOnlineCpu);
    }
    let change = CHANGE.lock();
    // The union first, then the new set: no reader finds it without any CPU.
    let mut both = task.affinity();
    set.iter().for_each(|cpu| both.insert(cpu));
    task.affinity.store(&both);
    task.affinity.store(set);
    drop(change);
    // F30 fence: orders the store of the affinity before the look at the task's CPU. Partner: `queue`.
    fence(Ordering::SeqCst);
    Window::AffinityStored.pass(task);
    relocate(task);
    preempt::reschedule_if_asked();
    Ok(())
}

/// Whether `task` may run on `cpu`, and `cpu` run tasks.
#[inline]
pub(super) fn may_run_on(task: &Task, cpu: &Cpu) -> bool {
    task.affinity.contains(cpu.id) && ONLINE.contains(cpu.id)
}

/// Moves `task` if it is queued or runs on a forbidden CPU.
#[cold]
fn relocate(task: &Task) {
    loop {
        let cpu = cpu::get(task.cpu());
        let mut queue = cpu.queue.lock();
        if task.cpu() != cpu.id {
            // It was moved before we had the lock.
            continue;
        }
        // Not before the lock: a thief that read the old affinity holds the lock until the task's
        // `cpu` is the thief's.
        if may_run_on(task, cpu) {
            return;
        }
        let was_queued = queue.remove(task);
        drop(queue);
        if was_queued {
            task.run_again();
        } else {
            // It runs there, or is about to: `schedule` sends it away. If it sleeps, its wake-up
            // chooses a CPU anyway, and the interrupt is in vain.
            resched(cpu);
        }
        return;
    }
}
