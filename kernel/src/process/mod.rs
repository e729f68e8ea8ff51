//! Processes: address space, descriptors, signal dispositions and children that threads share.
//!
//! A [`Thread`] is the user half of a task; it owns a reference to its [`Process`]. A process
//! exists from fork until its parent (or, for orphans, init) has waited for it. Its life:
//! [`clone`], [`exec`], [`exit`], [`wait`]; [`table`] finds it by number.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use arch::timer;

use crate::fs::path::Place;
use crate::fs::table_use::TableUse;
use crate::sync::SpinLock;
use crate::task::{self, Own, Task, TaskRef, current as current_task};
use crate::task::{Mutex, WaitQueue};

pub(crate) mod alarm;
pub(crate) mod clone;
pub(crate) mod cpu_time;
pub(crate) mod event;
pub(crate) mod exec;
pub(crate) mod exit;
mod family;
pub(crate) mod fault;
pub(crate) mod init;
pub(crate) mod limits;
mod load;
mod program;
pub(crate) mod random;
pub(crate) mod scheduling;
pub(crate) mod session;
pub(crate) mod signal;
mod stack;
pub(crate) mod table;
mod thread;
pub(crate) mod wait;

pub(crate) use stack::{ARGUMENTS_MAX, Arguments};
pub(crate) use thread::Thread;

pub(crate) use fault::{page_fault, user_fault, vector_unavailable as fpu_unavailable};
pub(crate) use init::{launch, start_init};
pub(crate) use random::init as seed_random;
pub(crate) use signal::return_to_user;

use cpu_time::{Past, Timers};
use limits::Limits;
use program::Program;
use signal::{Handlers, Queue};
use table::Children;

/// The number of init.
pub(crate) const INIT_PID: u32 = 1;

/// A process.
pub(crate) struct Process {
    /// Its number: the tid of its first thread.
    pub(crate) pid: u32,
    /// The number of its parent. This and the next four are written under the table's lock,
    /// `exit_signal` also by the process's own exec.
    parent: AtomicU32,
    /// The number of the task of its parent that has it as a child.
    parent_task: AtomicU32,
    /// The number of its process group.
    pub(crate) group: AtomicU32,
    /// The number of its session.
    session: AtomicU32,
    /// The signal that its end sends to its parent, or 0.
    exit_signal: AtomicU32,
    /// Its children.
    children: Children,
    /// It has called exec.
    executed: AtomicBool,
    /// prctl's setting for core dumps, of which there are none.
    pub(crate) dumpable: AtomicBool,
    /// Descriptors. For its own threads only: exec replaces them.
    pub(crate) files: TableUse,
    /// Its resource limits.
    pub(crate) limits: Limits,
    /// The current directory.
    pub(crate) directory: Arc<Mutex<Place>>,
    /// The program that it runs.
    program: SpinLock<Arc<Program>>,
    /// When it was made, in ticks of the time base.
    pub(crate) started_tb: u64,
    /// Permissions that new files do not get.
    pub(crate) umask: AtomicU32,
    /// Whether the program's ABI is ELFv2: its functions are named by their code's address.
    elf_v2: AtomicBool,
    /// The signals' dispositions. The lock guards which table it is; nothing nests inside.
    handlers: SpinLock<Arc<Handlers>>,
    /// Signals for any thread that takes them.
    pub(crate) signals: Queue,
    /// Guards the list of living threads. Run-queue locks nest inside: it is held
    /// over [`Task::notify`](crate::task::Task::notify).
    threads: SpinLock<Vec<TaskRef>>,
    /// Woken when a thread has left the list.
    thread_gone: WaitQueue,
    /// How it ends; see [`exit`].
    ending: AtomicU64,
    /// When its alarms ring, in ticks of the time base, or `alarm::NONE`. Under the alarms' lock.
    alarms_tb: [AtomicU64; 2],
    /// Its timers on CPU time. Outside all spin locks.
    cpu_timers: Mutex<Timers>,
    /// The usage of its former threads and children. The lock nests inside that of the threads.
    past: SpinLock<Past>,
    /// Woken when a child has ended.
    child_ended: WaitQueue,
    /// How many ends of children there were, modulo 2^32: one who waits looks at the children again
    /// when it has changed.
    child_ends: AtomicU32,
    /// Woken when it is dead itself.
    died: WaitQueue,
}

/// The parts that a new process gets from its parent, or init from the kernel.
struct Inheritance {
    files: TableUse,
    limits: Limits,
    directory: Arc<Mutex<Place>>,
    program: Arc<Program>,
    umask: u32,
    handlers: Arc<Handlers>,
}

impl Process {
    /// A process without threads that only the caller knows; the [`table`] gives it a family.
    fn new(pid: u32, from: Inheritance) -> Arc<Self> {
        Arc::new(Process {
            pid,
            parent: AtomicU32::new(table::NOBODY),
            parent_task: AtomicU32::new(0),
            group: AtomicU32::new(pid),
            session: AtomicU32::new(pid),
            exit_signal: AtomicU32::new(signal::SIGCHLD),
            children: Children::none(),
            executed: AtomicBool::new(false),
            dumpable: AtomicBool::new(true),
            files: from.files,
            limits: from.limits,
            directory: from.directory,
            program: SpinLock::new("program", from.program),
            started_tb: timer::now_tb(),
            umask: AtomicU32::new(from.umask),
            elf_v2: AtomicBool::new(false),
            handlers: SpinLock::new("handlers", from.handlers),
            signals: Queue::new(),
            threads: SpinLock::new("threads", Vec::new()),
            thread_gone: WaitQueue::new(),
            ending: AtomicU64::new(exit::NOT_ENDING),
            alarms_tb: [const { AtomicU64::new(alarm::NONE) }; 2],
            cpu_timers: Mutex::new(Timers::new()),
            past: SpinLock::new("past usage", Past::default()),
            child_ended: WaitQueue::new(),
            child_ends: AtomicU32::new(0),
            died: WaitQueue::new(),
        })
    }

    /// The number of its parent; 0 for init.
    pub(crate) fn parent(&self) -> u32 {
        self.parent.load(Ordering::Relaxed)
    }

    /// The signals' dispositions.
    #[inline]
    pub(crate) fn handlers(&self) -> Arc<Handlers> {
        self.handlers.lock().clone()
    }

    /// Whether the program's functions are named by their code's address, not by a descriptor.
    fn is_elf_v2(&self) -> bool {
        self.elf_v2.load(Ordering::Relaxed)
    }

    fn set_elf_v2(&self, elf_v2: bool) {
        self.elf_v2.store(elf_v2, Ordering::Relaxed);
    }

    /// Starts a further thread, unless the process or the caller is about to end. Returns whether
    /// it did.
    ///
    /// All under the lock: a thread in the list is notified of signals, and only a started one can
    /// be. [`Process::end`] and an exec set kills under the lock. Either they see the new thread,
    /// or we see the end of the process or of the caller; then the caller has a kill pending and
    /// never returns to user mode.
    fn start_thread(&self, task: TaskRef) -> bool {
        let mut threads = self.threads.lock();
        let alive = !self.is_ending() && !current_task().killed();
        if alive {
            task::start(&task);
            threads.push(task);
        }
        alive
    }

    /// Starts the first thread. If the process has been killed already, the thread starts only to
    /// end.
    fn start_first_thread(&self, task: TaskRef) {
        let mut threads = self.threads.lock();
        task::start(&task);
        self.tell_first_thread(&task);
        threads.push(task);
    }

    /// Puts the running kernel thread on the list: the first thread of a program
    /// that the kernel starts.
    fn adopt_current(&self) {
        let mut threads = self.threads.lock();
        let task = current_task().to_ref();
        self.tell_first_thread(&task);
        threads.push(task);
    }

    /// Notifies `task` of signals that were sent while the process was known but had no thread.
    /// With the list's lock held: an end is decided under it, and a sender queues its signal before
    /// it takes it. So either we see the signal or the sender sees the thread.
    fn tell_first_thread(&self, task: &Task) {
        if self.is_ending() {
            task.notify(task::pending::KILL);
        }
        if self.signals.set() != 0 {
            task.notify(task::pending::SIGNAL);
        }
    }

    /// Its living thread with number `tid`.
    pub(crate) fn thread(&self, tid: u32) -> Option<TaskRef> {
        let has_it = |task: &&TaskRef| task.user.as_ref().is_some_and(|thread| thread.tid() == tid);
        self.threads.lock().iter().find(has_it).cloned()
    }

    /// Calls `f` for every thread. A spin lock is held: `f` is short and does not sleep.
    pub(crate) fn for_each_thread(&self, f: impl FnMut(&Thread)) {
        self.threads.lock().iter().filter_map(|task| task.user.as_ref()).for_each(f);
    }

    /// Its first thread; none if it is dead, or was not started yet.
    pub(crate) fn first_task(&self) -> Option<TaskRef> {
        self.threads.lock().first().cloned()
    }

    /// How many threads it has.
    pub(crate) fn thread_count(&self) -> usize {
        self.threads.lock().len()
    }

    /// Whether the process has only one thread.
    fn is_single_threaded(&self) -> bool {
        self.threads.lock().len() == 1
    }
}

/// The user half of the running task.
///
/// # Panics
/// In a kernel thread.
#[inline(always)]
pub(crate) fn current_thread() -> Own<Thread> {
    current_task().map(|task| task.user.as_ref().expect("a kernel thread asks for its user half"))
}

/// The process of the running task.
#[inline(always)]
pub(crate) fn current() -> Own<Process> {
    current_thread().map(|thread| &*thread.process)
}
