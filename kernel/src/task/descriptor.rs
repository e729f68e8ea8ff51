//! The task: what is scheduled.
//!
//! Kernel threads and user threads are the same thing; a user thread has an
//! address space (`mm`) and a user half besides.
//!
//! **Who keeps a task alive.** Every [`TaskRef`]; and the task itself from spawn to
//! exit: it owns one reference that the next task on its CPU gives back. So what
//! runs, is queued or sleeps may be named by a plain [`TaskPtr`].

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::cell::UnsafeCell;
use core::ops::Deref;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

use arch::context::Context;
use arch::percpu;
use kcore::cpu::{CpuId, CpuSet};
use kcore::handoff::{InUse, RunState, Woken};
use kcore::machine::PreemptOff;
use kcore::task::TaskMm;

use super::cpu_bits::CpuBits;
use super::usage::Counts;
use super::wait_queue::WaitQueue;
use super::window::Window;
use crate::memory::KernelStack;
use crate::upcalls::UserHalf;

use crate::sync::list::Node;

/// A counted reference to a task.
pub(crate) type TaskRef = Arc<Task>;

/// What a kernel thread runs.
pub(super) type Body = Box<dyn FnOnce() + Send>;

/// Why a sleeping or running task should look up: bits of [`Task::pending`].
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
    /// Where it stands between running and sleeping.
    pub(super) run_state: RunState,
    /// Whether a CPU uses its stack: a CPU that wants to run it elsewhere waits until
    /// none does: step 7 of docs/lazy-tlb.md#why-no-stale-active_mm-can-exist.
    pub(super) on_cpu: InUse,
    /// The CPU that it runs on or last ran on, or whose queue it is in.
    /// Changed under that CPU's run-queue lock.
    pub(super) cpu: AtomicU32,
    /// Bits of [`pending`].
    pub(super) pending: AtomicU32,
    /// Its number; 0 for idle tasks.
    pub(crate) tid: u32,
    /// What it has used.
    pub(super) counts: Counts,
    /// Registers, while it does not run. Touched by the CPU that switches from or
    /// to it, with interrupts off; `on_cpu` hands it over.
    pub(super) context: UnsafeCell<Context>,
    /// Top of its kernel stack.
    pub(super) stack_top: u64,
    /// Its place in a run queue; the links belong to that queue's lock.
    pub(super) run_node: Node<TaskPtr>,
    /// Its place in the table of tasks; the links belong to the table's lock.
    pub(super) tid_node: Node<TaskPtr>,
    /// The name, as two big-endian words of text padded with zeros.
    pub(crate) name: [AtomicU64; 2],
    /// The CPUs that it may run on.
    pub(super) affinity: CpuBits,
    /// What it runs when it first runs; taken then.
    pub(super) body: UnsafeCell<Option<Body>>,
    /// 1 once it has exited.
    pub(super) exited: AtomicU32,
    /// Those who wait for `exited`.
    pub(super) exit_waiters: WaitQueue,
    /// The user half, none for kernel threads. A kernel thread that execs is
    /// spawned with one.
    pub(crate) user: Option<UserHalf>,
    /// Owns the stack; none for the task that the boot made.
    pub(super) stack: Option<KernelStack>,
}

// SAFETY: the two `UnsafeCell`s are touched by one CPU at a time: `context` by the
// one that switches (handed over by `on_cpu`), `body` by the task itself. The
// rest is atomic, locked or constant.
unsafe impl Sync for Task {}
// SAFETY: nothing in it depends on the CPU that drops it.
unsafe impl Send for Task {}

impl Task {
    /// Its number; 0 for idle tasks.
    pub(crate) fn tid(&self) -> u32 {
        self.tid
    }

    /// Says which CPU it goes to.
    pub(super) fn set_cpu(&self, cpu: CpuId) {
        self.cpu.store(cpu.index() as u32, Ordering::Relaxed);
    }

    /// The CPU that it runs on, or last ran on. A hint unless it is the current
    /// task with preemption off.
    pub(crate) fn cpu(&self) -> CpuId {
        CpuId::new(self.cpu.load(Ordering::Relaxed) as usize)
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

    /// The name; whatever is no UTF-8 ends it.
    pub(crate) fn name(&self) -> TaskName {
        TaskName(self.name_bytes())
    }

    /// What it does, in a word; a hint.
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
    }

    /// Whether a kill or a signal waits: interruptible waits end.
    #[inline]
    pub(crate) fn interrupted(&self) -> bool {
        self.pending.load(Ordering::Relaxed) != 0
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
        // The bits before the look at the state. Partner: the fence in
        // `prepare_to_sleep`, after which the sleeper looks at the bits.
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
        // Acquire: what the task did before. Pairs with the release in
        // `exit_current`.
        self.exited.load(Ordering::Acquire) != 0
    }

    /// Sleeps until the task has exited.
    pub(crate) fn wait_exit(&self) {
        self.exit_waiters.wait_until(|| self.has_exited());
    }
}

/// A name that prints.
pub(crate) struct TaskName([u8; 16]);

impl TaskName {
    /// The name up to its end, or to what is no UTF-8.
    pub(crate) fn as_str(&self) -> &str {
        let end = self.0.iter().position(|&byte| byte == 0).unwrap_or(self.0.len());
        self.0[..end].utf8_chunks().next().map_or("", |chunk| chunk.valid())
    }
}

impl core::fmt::Display for TaskName {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The words that hold `name`, cut to 15 bytes and padded with zeros.
fn name_words(name: &[u8]) -> [u64; 2] {
    let mut bytes = [0_u8; 16];
    let len = name.len().min(15);
    bytes[..len].copy_from_slice(&name[..len]);
    let word = |at: usize| u64::from_be_bytes(bytes[at..at + 8].try_into().expect("8 bytes"));
    [word(0), word(8)]
}

/// What a task starts as.
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
    /// A task that nobody knows yet, as if it slept. Its context is still to be
    /// made.
    pub(super) fn new(birth: Birth<'_>) -> TaskRef {
        let (stack_top, stack) = match birth.stack {
            Ok(stack) => (stack.top(), Some(stack)),
            Err(top) => (top, None),
        };
        Arc::new_cyclic(|this| {
            let this = TaskPtr::new(this.as_ptr());
            Task {
                mm: birth.mm,
                run_state: RunState::asleep(),
                on_cpu: InUse::free(),
                cpu: AtomicU32::new(0),
                pending: AtomicU32::new(0),
                tid: birth.tid,
                counts: Counts::new(),
                context: UnsafeCell::new(Context::running()),
                stack_top,
                run_node: Node::new(this),
                tid_node: Node::new(this),
                name: name_words(birth.name.as_bytes()).map(AtomicU64::new),
                affinity: CpuBits::of(birth.affinity),
                body: UnsafeCell::new(birth.body),
                exited: AtomicU32::new(0),
                exit_waiters: WaitQueue::new(),
                user: birth.user,
                stack,
            }
        })
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
// SAFETY: as above.
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
    /// It has not exited, or somebody holds a reference, for as long as the
    /// result is used.
    pub(crate) unsafe fn get<'a>(self) -> &'a Task {
        // SAFETY: passed to the caller.
        unsafe { self.0.as_ref() }
    }
}

/// What the running task is, or is part of, lent to itself: it stays on the task's own stack,
/// which ends with it.
pub(crate) struct Own<T>(NonNull<T>);

impl<T> Own<T> {
    /// What `part` finds in it.
    #[inline(always)]
    pub(crate) fn map<U>(self, part: impl FnOnce(&T) -> &U) -> Own<U> {
        Own(part(&self).into())
    }
}

impl<T> Deref for Own<T> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        // SAFETY: what can call this is the task itself (`Own` is neither `Send` nor `Sync`,
        // as its pointer), so it has not exited, and what it has is still there.
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
    /// The running task announces that its next [`super::sleep`] is one, unless
    /// somebody wakes it first. A full barrier: see [`crate::task::WaitQueue`].
    #[inline]
    pub(crate) fn prepare_to_sleep(&self) {
        self.run_state.prepare();
    }

    /// The running task takes [`Task::prepare_to_sleep`] back.
    #[inline]
    pub(crate) fn stay_awake(&self) {
        self.run_state.stay_awake();
    }

    /// Wakes the task if it sleeps or is about to; whether it slept. A wake-up
    /// that it did not wait for does no harm: all waits are loops. Any context.
    pub(crate) fn wake(&self) -> bool {
        let slept = self.run_state.wake() == Woken::MustQueue;
        if slept {
            super::placement::queue(self);
        }
        slept
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
