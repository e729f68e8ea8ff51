//! Processes: address space, descriptors, signal dispositions and children that
//! threads share.
//!
//! A [`Thread`] is the user half of a task; it owns a reference to its
//! [`Process`]. A process exists from fork until its parent (or, for orphans,
//! init) has waited for it. Its life: [`clone`], [`exec`], [`exit`], [`wait`];
//! [`table`] finds it by number.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use crate::fs::path::Place;
use crate::fs::table::TableUse;
use crate::sync::{Mutex, SpinLock, WaitQueue};
use crate::task::{self, Task, TaskRef, current as current_task};

pub(crate) mod alarm;
pub(crate) mod clone;
pub(crate) mod event;
pub(crate) mod exec;
pub(crate) mod exit;
pub(crate) mod fault;
pub(crate) mod init;
mod load;
pub(crate) mod random;
pub(crate) mod signal;
mod stack;
pub(crate) mod table;
mod thread;
pub(crate) mod user_memory;
pub(crate) mod wait;

pub(crate) use stack::{ARGUMENTS_MAX, Arguments};
pub(crate) use thread::Thread;

pub(crate) use fault::{page_fault, user_fault, vector_unavailable as fpu_unavailable};
pub(crate) use init::{launch, start_init};
pub(crate) use random::init as seed_random;
pub(crate) use signal::return_to_user;

use event::Event;
use signal::{Handlers, Queue};

/// The number of init.
pub(crate) const INIT_PID: u32 = 1;

/// A process.
pub(crate) struct Process {
    /// Its number: the tid of its first thread.
    pub(crate) pid: u32,
    /// The number of its parent. Written under the table's lock.
    parent: AtomicU32,
    /// The number of its process group. Written under the table's lock.
    pub(crate) group: AtomicU32,
    /// Descriptors.
    pub(crate) files: TableUse,
    /// The current directory.
    pub(crate) directory: Mutex<Place>,
    /// Permissions that new files do not get.
    pub(crate) umask: AtomicU32,
    /// The absolute path of the program.
    executable: SpinLock<String>,
    /// The program's ABI: whether functions are named by their code's address.
    elf_v2: AtomicBool,
    /// What signals do.
    pub(crate) handlers: Arc<Handlers>,
    /// Signals for whichever thread takes them.
    pub(crate) signals: Queue,
    /// Guards the list of living threads. Run-queue locks nest inside: it is held
    /// over [`Task::notify`](crate::task::Task::notify).
    threads: SpinLock<Vec<TaskRef>>,
    /// Told when a thread has left the list.
    thread_gone: WaitQueue,
    /// How it ends; see [`exit`].
    ending: AtomicU64,
    /// When its alarm rings, as a time base, or `alarm::NONE`. Under the alarms'
    /// lock.
    alarm_tb: AtomicU64,
    /// Told when a child has ended.
    child_ended: WaitQueue,
    /// Told when it is dead itself.
    died: WaitQueue,
    /// Who waits until this process no longer uses its parent's address space.
    vfork_parent: SpinLock<Option<Arc<Event>>>,
}

/// What a new process gets from its parent, or init from the kernel.
struct Inheritance {
    parent: u32,
    group: u32,
    files: TableUse,
    directory: Place,
    umask: u32,
    executable: String,
    handlers: Arc<Handlers>,
    vfork_parent: Option<Arc<Event>>,
}

impl Process {
    /// A process without threads that nobody knows yet.
    fn new(pid: u32, from: Inheritance) -> Arc<Self> {
        Arc::new(Process {
            pid,
            parent: AtomicU32::new(from.parent),
            group: AtomicU32::new(from.group),
            files: from.files,
            directory: Mutex::new(from.directory),
            umask: AtomicU32::new(from.umask),
            executable: SpinLock::new("executable", from.executable),
            elf_v2: AtomicBool::new(false),
            handlers: from.handlers,
            signals: Queue::new(),
            threads: SpinLock::new("threads", Vec::new()),
            thread_gone: WaitQueue::new(),
            ending: AtomicU64::new(exit::NOT_ENDING),
            alarm_tb: AtomicU64::new(alarm::NONE),
            child_ended: WaitQueue::new(),
            died: WaitQueue::new(),
            vfork_parent: SpinLock::new("vfork", from.vfork_parent),
        })
    }

    /// The number of its parent; 0 for init.
    pub(crate) fn parent(&self) -> u32 {
        self.parent.load(Ordering::Relaxed)
    }

    /// The absolute path of the program.
    pub(crate) fn executable(&self) -> String {
        self.executable.lock().clone()
    }

    /// Whether the program's functions are named by their code's address, not by
    /// a descriptor.
    fn is_elf_v2(&self) -> bool {
        self.elf_v2.load(Ordering::Relaxed)
    }

    fn set_elf_v2(&self, elf_v2: bool) {
        self.elf_v2.store(elf_v2, Ordering::Relaxed);
    }

    /// Starts a further thread, unless the process, or the caller itself, is about to
    /// end.
    ///
    /// All under the lock: a thread in the list is told of signals, and only one
    /// that runs can be told. [`Process::end`] decides before it takes the lock
    /// to tell the threads, so either it sees the new one or we see that it ends. An
    /// exec tells all others under the lock, so either it sees the new one or we see
    /// that we are told.
    fn start_thread(&self, task: TaskRef) -> bool {
        let mut threads = self.threads.lock();
        let alive = !self.is_ending() && !current_task().killed();
        if alive {
            task::start(&task);
            threads.push(task);
        }
        alive
    }

    /// Starts the first thread. If somebody has killed the process already, the
    /// thread starts only to end.
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

    /// Tells `task` of what was sent while the process was known but had no thread
    /// to tell. With the list's lock held: whoever sends first decides or queues, and
    /// takes the lock then; so either that is seen here, or the thread there.
    fn tell_first_thread(&self, task: &Task) {
        if self.is_ending() {
            task.notify(task::pending::KILL);
        }
        if self.signals.set() != 0 {
            task.notify(task::pending::SIGNAL);
        }
    }

    /// Whether the process has only one thread.
    fn is_single_threaded(&self) -> bool {
        self.threads.lock().len() == 1
    }

    /// The process no longer uses its parent's address space (exec, exit).
    fn release_vfork_parent(&self) {
        if let Some(event) = self.vfork_parent.lock().take() {
            event.wake();
        }
    }
}

/// The user half of the running task.
///
/// # Panics
/// In a kernel thread.
#[inline(always)]
pub(crate) fn current_thread() -> &'static Thread {
    let task = current_task();
    let thread: *const Thread = task.user.as_ref().expect("a kernel thread asks for its user half");
    // SAFETY: the running task, so the thread in it, lives at least until the
    // task's own last switch, and this reference ends before: no caller keeps it
    // in a place that outlives the task's stack.
    unsafe { &*thread }
}

/// The process of the running task.
#[inline(always)]
pub(crate) fn current() -> &'static Process {
    &current_thread().process
}
