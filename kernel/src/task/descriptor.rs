//! The task: the unit of scheduling.
//!
//! Kernel threads and user threads are tasks; a user thread has an address space (`mm`) and a user
//! half besides.
//!
//! **What keeps a task alive**: every [`TaskRef`]. From spawn to exit a task owns one reference to
//! itself, which the next task on its CPU gives back. So a plain [`TaskPtr`] may name a task that
//! runs, is queued or sleeps.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::cell::{Cell, UnsafeCell};
use core::ops::Deref;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering, fence};

use arch::context::Context;
use arch::percpu;
use kcore::cpu::{CpuId, CpuSet};
use kcore::handoff::{InUse, RunState, Told, Woken};
use kcore::machine::{IrqsOff, PreemptOff};
use kcore::task::TaskMm;

use super::cpu::Cpu;
use super::cpu_bits::CpuBits;
use super::fault_place::FaultPlace;
use super::name::{TaskName, name_words};
use super::usage::Counts;
use super::wait_queue::WaitQueue;
use super::window::Window;
use crate::memory::KernelStack;
use crate::upcalls::UserHalf;

use crate::sync::fifo::Place;
use crate::sync::list::Node;
use crate::sync::with_irqs_off;

/// A counted reference to a task.
pub(crate) type TaskRef = Arc<Task>;

/// The function of a kernel thread.
pub(super) type Body = Box<dyn FnOnce() + Send>;

/// Reasons to interrupt a sleeping or running task: bits of [`Task::pending`].
pub(crate) mod pending {
    /// The task is to end: it never returns to user mode.
    pub(crate) const KILL: u32 = 1;
    /// A signal waits to be delivered.
    pub(crate) const SIGNAL: u32 = 2;
}

/// A task. `repr(C)`: debuggers find its fields by `offset_of!`.
#[repr(C, align(128))]
pub(crate) struct Task {
    /// The address space part, first: the switch reads it.
    pub(crate) mm: TaskMm,
    /// Its state: running, asleep or between.
    pub(super) run_state: RunState,
    /// Whether a CPU uses its stack. A CPU that wants to run or queue it waits until no other does:
    /// step 7 of docs/lazy-tlb.md#why-no-stale-active_mm-can-exist.
    pub(super) on_cpu: InUse,
    /// The CPU that it runs on or last ran on, or whose queue it is in.
    /// Changed under that CPU's run-queue lock.
    pub(super) cpu: AtomicU32,
    /// Bits of [`pending`].
    pub(super) pending: AtomicU32,
    /// Its number; 0 for idle tasks.
    pub(crate) tid: u32,
    /// It waits in a queue: a wait in the condition of another would need a second node.
    pub(super) waits: AtomicBool,
    /// Whether the wait queue that it waits in has woken it.
    pub(super) told: Told,
    /// Its place in a run queue; the link belongs to that queue's lock.
    pub(super) run_node: Place<TaskPtr>,
    /// Its place in a wait queue; the link belongs to that queue's lock.
    pub(super) wait_node: Place<TaskPtr>,
    /// The CPU time, switches and faults of this task.
    pub(super) counts: Counts,
    /// Where it faults. Touched by the task itself alone.
    fault_place: Cell<FaultPlace>,
    /// Pages that it has filled in there, and that are counted nowhere else. As `fault_place`.
    filled: Cell<u32>,
    /// Registers, while it does not run. Touched by the CPU that switches from or
    /// to it, with interrupts off; `on_cpu` hands it over.
    pub(super) context: UnsafeCell<Context>,
    /// Top of its kernel stack.
    pub(super) stack_top: u64,
    /// Its place in the table of tasks; the links belong to the table's lock.
    pub(super) tid_node: Node<TaskPtr>,
    /// The name, as two big-endian words of text padded with zeros.
    pub(crate) name: [AtomicU64; 2],
    /// The CPUs that it may run on.
    pub(super) affinity: CpuBits,
    /// Its function, taken when it first runs.
    pub(super) body: UnsafeCell<Option<Body>>,
    /// 1 once it has exited.
    pub(super) exited: AtomicU32,
    /// Tasks that wait for `exited`.
    pub(super) exit_waiters: WaitQueue,
    /// The user half, none for kernel threads. A kernel thread that execs is spawned with one.
    pub(crate) user: Option<UserHalf>,
    /// Owns the stack; none for the task that the boot made.
    pub(super) stack: Option<KernelStack>,
}

// What a waker writes lies in one line, which moves once per wake-up.
const _: () = assert!(core::mem::offset_of!(Task, counts) <= 128);

// SAFETY: the four cells are touched by one CPU at a time: `context` by the CPU that switches
// (`on_cpu` hands it over), the others by the task itself. The rest is atomic, locked or
// constant.
unsafe impl Sync for Task {}
// SAFETY: nothing in it depends on the CPU that drops it.
unsafe impl Send for Task {}

impl Task {
    /// Its number; 0 for idle tasks.
    pub(crate) fn tid(&self) -> u32 {
        self.tid
    }

    /// Records the CPU that it goes to.
    pub(super) fn set_cpu(&self, cpu: CpuId) {
        self.cpu.store(cpu.index() as u32, Ordering::Relaxed);
    }

    /// The CPU that it runs on, or last ran on. A hint unless it is the current
    /// task with preemption off.
    pub(crate) fn cpu(&self) -> CpuId {
        CpuId::new(self.cpu.load(Ordering::Relaxed) as usize)
    }

    /// Whether [`Task::cpu`] is `cpu`.
    #[inline]
    pub(super) fn last_ran_on(&self, cpu: &Cpu) -> bool {
        self.cpu.load(Ordering::Relaxed) as usize == cpu.id.index()
    }

    /// The CPUs that it may run on.
    pub(crate) fn affinity(&self) -> CpuSet {
        self.affinity.snapshot()
    }

    /// The name's 16 bytes, padded with zeros.
    pub(crate) fn name_bytes(&self) -> [u8; 16] {
        let mut bytes = [0; 16];
        for (half, word) in bytes.chunks_exact_mut(8).zip(&self.name) {
            half.copy_from_slice(&word.load(Ordering::Relaxed).to_be_bytes());
        }
        bytes
    }

    /// The name; bytes that are no UTF-8 end it.
    pub(crate) fn name(&self) -> TaskName {
        TaskName::new(self.name_bytes())
    }

    /// Its state in a word; a hint.
    pub(crate) fn state(&self) -> &'static str {
        match self.run_state.name() {
            "running" if !self.on_cpu.is_set() => "waiting",
            state => state,
        }
    }

    /// Renames the task (exec). Longer names are cut to 15 bytes.
    pub(crate) fn set_name(&self, name: &[u8]) {
        for (word, value) in self.name.iter().zip(name_words(name)) {
            word.store(value, Ordering::Relaxed);
        }
        self.trace_name();
    }

    /// The trace learns the name.
    #[inline(always)]
    fn trace_name(&self) {
        crate::trace::name(self.tid, || self.name.each_ref().map(|word| word.load(Ordering::Relaxed)));
    }

    /// The bits of [`pending`].
    #[inline]
    pub(super) fn pending(&self) -> u32 {
        self.pending.load(Ordering::Relaxed)
    }

    /// Whether a kill or a signal waits: interruptible waits end.
    #[inline]
    pub(crate) fn interrupted(&self) -> bool {
        self.pending() != 0
    }

    /// Whether the task is to end.
    #[inline]
    pub(crate) fn killed(&self) -> bool {
        self.pending.load(Ordering::Relaxed) & pending::KILL != 0
    }

    /// Takes back bits of [`pending`], for instance when the last pending signal
    /// was delivered. Only the task itself.
    pub(crate) fn clear_pending(&self, bits: u32) {
        self.pending.fetch_and(!bits, Ordering::Relaxed);
    }

    /// Sets bits of [`pending`] and makes the task notice: an interruptible sleep
    /// ends, and a task in user mode enters the kernel. Any context.
    pub(crate) fn notify(&self, bits: u32) {
        self.pending.fetch_or(bits, Ordering::Relaxed);
        // F20 fence: orders the pending bits before the look at the state. Partner: `prepare`, after
        // which the sleeper looks at the bits.
        fence(Ordering::SeqCst);
        if !self.wake() {
            Window::Kicked.pass(self);
            super::resched::kick(self);
        }
    }
}

#[cfg(feature = "selftest")]
impl Task {
    /// Whether the task has exited. Its stack may be in use for a little longer.
    pub(crate) fn has_exited(&self) -> bool {
        // F40 acquire: orders the end before our reads of the task's results. Partner:
        // `exit_current`.
        self.exited.load(Ordering::Acquire) != 0
    }

    /// Sleeps until the task has exited.
    pub(crate) fn wait_exit(&self) {
        self.exit_waiters.wait_until(|| self.has_exited());
    }
}

/// The parts of a new task.
pub(super) struct Birth<'a> {
    pub(super) tid: u32,
    pub(super) name: &'a str,
    pub(super) mm: TaskMm,
    pub(super) affinity: &'a CpuSet,
    pub(super) user: Option<UserHalf>,
    pub(super) body: Option<Body>,
    /// Its stack, or the top of one that it does not own.
    pub(super) stack: Result<KernelStack, u64>,
}

impl Task {
    /// A task that only the caller knows, in the state of a sleeper. Its context is still to be
    /// made.
    pub(super) fn new(birth: Birth<'_>) -> TaskRef {
        let (stack_top, stack) = match birth.stack {
            Ok(stack) => (stack.top(), Some(stack)),
            Err(top) => (top, None),
        };
        let task = Arc::new_cyclic(|this| {
            let this = TaskPtr::new(this.as_ptr());
            Task {
                mm: birth.mm,
                run_state: RunState::asleep(),
                on_cpu: InUse::free(),
                cpu: AtomicU32::new(0),
                pending: AtomicU32::new(0),
                tid: birth.tid,
                waits: AtomicBool::new(false),
                told: Told::not_yet(),
                run_node: Place::new(this),
                wait_node: Place::new(this),
                counts: Counts::new(),
                fault_place: Cell::new(FaultPlace::NONE),
                filled: Cell::new(0),
                context: UnsafeCell::new(Context::running()),
                stack_top,
                tid_node: Node::new(this),
                name: name_words(birth.name.as_bytes()).map(AtomicU64::new),
                affinity: CpuBits::of(birth.affinity),
                body: UnsafeCell::new(birth.body),
                exited: AtomicU32::new(0),
                exit_waiters: WaitQueue::new(),
                user: birth.user,
                stack,
            }
        });
        task.trace_name();
        task
    }

    /// A counted reference.
    pub(crate) fn to_ref(&self) -> TaskRef {
        // SAFETY: every task lives in an `Arc` (`Task::new`), and `&self` proves
        // that its count is not 0.
        unsafe {
            Arc::increment_strong_count(self);
            Arc::from_raw(self)
        }
    }

    /// The task as a pointer.
    pub(crate) fn as_ptr(&self) -> TaskPtr {
        TaskPtr::new(self)
    }
}

/// A task by address, for lists and for words that assembly reads.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct TaskPtr(NonNull<Task>);

// SAFETY: an address; following it is `unsafe`.
unsafe impl Send for TaskPtr {}
// SAFETY: an address; following it is `unsafe`.
unsafe impl Sync for TaskPtr {}

impl TaskPtr {
    #[inline(always)]
    pub(super) fn new(task: *const Task) -> Self {
        Self(NonNull::new(task.cast_mut()).expect("a task is not at address 0"))
    }

    pub(super) fn raw(self) -> *const Task {
        self.0.as_ptr()
    }

    /// The task.
    ///
    /// # Safety
    /// As long as the result is used, the task has not exited, or a reference to it exists.
    pub(crate) unsafe fn get<'a>(self) -> &'a Task {
        // SAFETY: the caller's promise.
        unsafe { self.0.as_ref() }
    }
}

/// The running task, or something that lives as long, lent to the task itself: it stays on the
/// task's own stack, which ends with it.
pub(crate) struct Own<T>(NonNull<T>);

impl<T> Own<T> {
    /// The part of it that `part` returns.
    #[inline(always)]
    pub(crate) fn map<U>(self, part: impl FnOnce(&T) -> &U) -> Own<U> {
        Own(part(&self).into())
    }
}

impl Own<Task> {
    /// Where the task faults. Not in interrupt handlers.
    #[inline(always)]
    pub(crate) fn fault_place(&self) -> &Cell<FaultPlace> {
        &self.fault_place
    }

    /// How many pages it has filled in there that are counted nowhere else. Not in interrupt
    /// handlers.
    #[inline(always)]
    pub(crate) fn filled(&self) -> &Cell<u32> {
        &self.filled
    }
}

impl<T> Deref for Own<T> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        // SAFETY: only the task itself can call this (`Own` is neither `Send` nor `Sync`, as its
        // pointer), so it has not exited, and it still holds all that it has.
        unsafe { self.0.as_ref() }
    }
}

/// The running task. In an interrupt handler: the one that was interrupted.
///
/// # Panics
/// Before [`super::init`].
#[inline(always)]
pub(crate) fn current() -> Own<Task> {
    Own(TaskPtr::new(percpu::current_task().cast()).0)
}

impl Task {
    /// The running task announces that its next sleep is to sleep, unless a wake-up
    /// comes first. A full barrier: see [`crate::task::WaitQueue`].
    #[inline]
    pub(crate) fn prepare_to_sleep(&self) {
        self.run_state.prepare();
    }

    /// The running task takes [`Task::prepare_to_sleep`] back.
    #[inline]
    pub(crate) fn stay_awake(&self) {
        self.run_state.stay_awake();
    }

    /// Panics if the running task is in a wait queue: a second one needs the same node.
    #[inline(always)]
    pub(super) fn check_waits_for_nothing(&self) {
        assert!(!self.waits.load(Ordering::Relaxed), "{} waits in the condition of a wait", self.name());
    }

    /// Wakes the task if it sleeps or is about to. Returns whether it slept. A spurious wake-up
    /// does no harm: all waits are loops. Any context.
    pub(crate) fn wake(&self) -> bool {
        with_irqs_off(|off| self.wake_with(off))
    }

    /// As [`Task::wake`], where interrupts are off.
    #[inline]
    pub(super) fn wake_with(&self, off: &IrqsOff) -> bool {
        let slept = self.rouse();
        if slept {
            super::placement::queue(self, off);
        }
        slept
    }

    /// The first half of [`Task::wake`], for a waker with a lock on what the task waits in. If
    /// it slept, it does not run before the caller does the other half, [`Task::run_again`].
    #[must_use]
    #[inline]
    pub(crate) fn rouse(&self) -> bool {
        self.run_state.wake() == Woken::MustQueue
    }

    /// The other half, without that lock. The task may run and end before the return.
    #[inline]
    pub(crate) fn run_again(&self) {
        with_irqs_off(|off| self.run_again_with(off));
    }

    /// As [`Task::run_again`], where interrupts are off.
    #[inline]
    pub(crate) fn run_again_with(&self, off: &IrqsOff) {
        super::placement::queue(self, off);
    }
}

/// The address space part of the running task, for the protocol: good for as long
/// as it cannot be switched away from.
#[inline(always)]
pub(crate) fn current_mm(_: &PreemptOff) -> &TaskMm {
    let task: *const Task = percpu::current_task().cast();
    // SAFETY: the running task has not ended, and cannot while the token lives.
    unsafe { &(*task).mm }
}

/// A counted reference to the running task.
pub(crate) fn current_ref() -> TaskRef {
    current().to_ref()
}
