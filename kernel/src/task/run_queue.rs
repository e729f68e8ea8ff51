//! The tasks that wait for a CPU, first come, first served.

use core::sync::atomic::{AtomicU32, Ordering};

use kcore::cpu::CpuId;
use kcore::machine::IrqsOff;

use super::cpu_bits::CpuBits;
use super::descriptor::{Task, TaskPtr};
use super::window::Window;
use crate::sync::fifo::Fifo;
use crate::sync::{IrqGuard, IrqLock};

/// The CPUs in whose queue more waits than their idle task was woken for, or has waited since a
/// CPU looked: where an idle CPU looks for something to do. Each bit changes under that CPU's
/// run-queue lock. A task that is put on an idle CPU runs there at once and sets none, so that
/// going in and out of idle only reads these lines; and a bit stays when the queue runs empty, so
/// that tasks that take turns on one CPU do not write them either.
pub(super) static OVERLOADED: CpuBits = CpuBits::empty();

/// One CPU's queue. Its lock is innermost, and guards the links and the `cpu` of
/// the tasks in it. A task in it is runnable and, but for the instant of the
/// switch away from it, on no CPU.
pub(super) struct RunQueue {
    owner: CpuId,
    /// How many wait; written under the lock, read without it.
    len: AtomicU32,
    tasks: IrqLock<Tasks>,
}

/// What the lock guards.
struct Tasks {
    waiting: Fifo<TaskPtr>,
    /// Whether the CPU is in [`OVERLOADED`].
    is_marked: bool,
}

/// A run queue with its lock held.
pub(super) struct Locked<'a> {
    queue: &'a RunQueue,
    tasks: IrqGuard<'a, Tasks>,
}

impl RunQueue {
    pub(super) fn new(owner: CpuId) -> Self {
        let tasks = Tasks { waiting: Fifo::new(), is_marked: false };
        Self { owner, len: AtomicU32::new(0), tasks: IrqLock::new("a run queue", tasks) }
    }

    /// How many wait; exact only for the lock's holder.
    #[inline]
    pub(super) fn len(&self) -> u32 {
        self.len.load(Ordering::Relaxed)
    }

    /// Takes the lock.
    #[inline]
    pub(super) fn lock(&self) -> Locked<'_> {
        Locked { queue: self, tasks: self.tasks.lock() }
    }

    /// As [`RunQueue::lock`], where interrupts are off.
    #[inline]
    pub(super) fn lock_with(&self, off: &IrqsOff) -> Locked<'_> {
        Locked { queue: self, tasks: self.tasks.lock_with(off) }
    }

    /// Whether a task waits. If not, idle CPUs do not look here any more before one does.
    pub(super) fn is_overloaded(&self) -> bool {
        let mut locked = self.lock();
        if self.len() == 0 {
            locked.tasks.is_marked = false;
            OVERLOADED.take(self.owner);
        }
        self.len() != 0
    }

    /// Takes out the first task that may run on `thief` and whose context is
    /// complete, and gives it to that CPU.
    pub(super) fn steal_for(&self, thief: CpuId) -> Option<TaskPtr> {
        let mut locked = self.lock();
        let may = |task: &&Task| task.affinity.contains(thief) && !task.on_cpu.is_set();
        // SAFETY: tasks in a run queue have not exited.
        let task = locked.tasks.waiting.iter().map(|node| unsafe { node.value().get() }).find(may)?;
        Window::Stolen.pass(task);
        locked.remove(task);
        task.set_cpu(thief);
        Some(task.as_ptr())
    }
}

impl Locked<'_> {
    /// Adds `task` as the last. `is_awaited` if the CPU was idle and is claimed for it.
    #[inline]
    pub(super) fn push(&mut self, task: &Task, is_awaited: bool) {
        task.set_cpu(self.queue.owner);
        self.append(task);
        let len = self.queue.len();
        self.queue.len.store(len + 1, Ordering::Relaxed);
        if !is_awaited {
            self.mark();
        }
    }

    /// Takes out the first, if one waits, and adds `task`, which runs on this CPU, as the last.
    #[inline]
    pub(super) fn exchange(&mut self, task: &Task) -> Option<TaskPtr> {
        let first = *self.tasks.waiting.pop_front()?;
        self.append(task);
        self.mark();
        Some(first)
    }

    #[inline]
    fn append(&mut self, task: &Task) {
        // SAFETY: a runnable task that is not yet queued is queued by one CPU
        // only: the one that woke it or that switches away from it. It does not
        // exit before it has been taken out and has run.
        unsafe { self.tasks.waiting.push_back(&task.run_node) };
    }

    /// Other CPUs may take tasks from here.
    #[inline]
    fn mark(&mut self) {
        if !self.tasks.is_marked {
            self.tasks.is_marked = true;
            OVERLOADED.insert(self.queue.owner);
        }
    }

    /// Takes out the first.
    #[inline]
    pub(super) fn pop(&mut self) -> Option<TaskPtr> {
        let task = *self.tasks.waiting.pop_front()?;
        self.one_less();
        Some(task)
    }

    /// Takes out `task`. Returns whether it was here. Searches the queue, since the task's link
    /// may belong to another queue at this moment, under another lock.
    pub(super) fn remove(&mut self, task: &Task) -> bool {
        let is_here = self.tasks.waiting.remove(&task.run_node);
        if is_here {
            self.one_less();
        }
        is_here
    }

    #[inline]
    fn one_less(&mut self) {
        self.queue.len.store(self.queue.len() - 1, Ordering::Relaxed);
    }
}
