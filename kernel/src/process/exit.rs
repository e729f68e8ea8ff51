//! The end of threads and processes.
//!
//! A process ends when its last thread does. exit_group, a fatal signal or a fault decides how (the
//! first one wins) and has all threads end. A thread that is to end does so on its way to user
//! mode, never in the middle of a system call.

use alloc::sync::Arc;
use core::sync::atomic::Ordering;

use super::signal;
use super::{INIT_PID, Process, Thread, alarm, current_thread, family};
use crate::machine::lazy_tlb;
use crate::mm::{self, user_memory::UserAddr};
use crate::task::{self, TaskRef, pending};
use crate::upcalls;

/// How a process ended, as wait4 reports it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Status(pub(crate) u32);

impl Status {
    /// By exit or exit_group with this code, of which 8 bits count.
    pub(crate) fn exited(code: u64) -> Self {
        Status((code as u32 & 0xff) << 8)
    }

    /// By this signal.
    pub(crate) fn signaled(signal: u32) -> Self {
        Status(signal & 0x7f)
    }

    /// Whether it reports success.
    pub(crate) fn is_success(self) -> bool {
        self == Status::exited(0)
    }

    /// As a shell shows it: the code, or 128 and the signal.
    pub(crate) fn shell_code(self) -> u32 {
        match self.0 & 0x7f {
            0 => self.0 >> 8 & 0xff,
            signal => 128 + signal,
        }
    }
}

impl core::fmt::Display for Status {
    /// As the end of a sentence: "exited with status 1", "was killed by SIGSEGV".
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self.0 & 0x7f {
            0 => write!(f, "exited with status {}", self.shell_code()),
            signal => write!(f, "was killed by {}", signal::name(signal)),
        }
    }
}

/// `Process::ending` of a process that is not about to end.
pub(super) const NOT_ENDING: u64 = 0;
/// The status in the low half is final; all threads are to end.
const ENDING: u64 = 1 << 32;
/// No thread is left.
const DEAD: u64 = 1 << 33;

impl Process {
    /// Whether it is decided how the process ends.
    pub(super) fn is_ending(&self) -> bool {
        self.ending.load(Ordering::Relaxed) != NOT_ENDING
    }

    /// Whether no thread is left.
    pub(crate) fn is_dead(&self) -> bool {
        // F41 acquire: orders the death before our reads of the process's last changes. Partner:
        // `die`.
        self.ending.load(Ordering::Acquire) & DEAD != 0
    }

    /// How it ended, or will.
    pub(super) fn status(&self) -> Status {
        Status(self.ending.load(Ordering::Relaxed) as u32)
    }

    /// Decides how the process ends, unless that is decided, and has all its
    /// threads end. The caller's own ends when it next returns to user mode.
    ///
    /// The decision is made and the kills are set under one lock: a thread that finds the end
    /// decided, and then takes the lock, finds the kill pending on all threads. So a thread that
    /// comes second does not go back to user mode.
    pub(crate) fn end(&self, status: Status) {
        let threads = self.threads.lock();
        if self.is_ending() {
            return;
        }
        self.ending.store(ENDING | u64::from(status.0), Ordering::Relaxed);
        for thread in threads.iter() {
            thread.notify(pending::KILL);
        }
    }

    /// Has all threads but the current one end, and waits for that (exec). False if the current one
    /// is to end itself: of two that exec at once, the first to take the lock goes on.
    pub(super) fn end_other_threads(&self) -> bool {
        let me = task::current();
        {
            let threads = self.threads.lock();
            if me.killed() {
                return false;
            }
            for thread in threads.iter().filter(|thread| thread.tid != me.tid) {
                thread.notify(pending::KILL);
            }
        }
        self.thread_gone.wait_until(|| me.killed() || self.is_single_threaded());
        !me.killed()
    }

    /// The end of a process whose first thread, the current kernel thread, never became a program.
    pub(super) fn end_unborn(&self, status: Status) {
        self.remove_current_thread();
        self.die(status);
    }

    /// Waits until the process is dead. Interrupts and preemption on.
    pub(crate) fn wait_dead(&self) -> Status {
        self.died.wait_until(|| self.is_dead());
        self.status()
    }

    /// [`Process::wait_dead`]; none if the time base reaches `deadline_tb` first.
    #[cfg(feature = "selftest")]
    pub(crate) fn wait_dead_until(&self, deadline_tb: u64) -> Option<Status> {
        self.died.wait_until_deadline(|| self.is_dead(), deadline_tb).then(|| self.status())
    }

    /// Takes the current thread off the list; true if it was the last.
    fn remove_current_thread(&self) -> bool {
        let me = task::current();
        let mut threads = self.threads.lock();
        let at = threads.iter().position(|thread| thread.tid == me.tid);
        let gone: Option<TaskRef> = at.map(|at| threads.swap_remove(at));
        self.past.lock().threads += me.usage();
        let last = threads.is_empty();
        drop(threads);
        drop(gone);
        // A signal may have been announced to this thread.
        signal::tell_takers(self, u64::MAX);
        self.thread_gone.wake_all();
        last
    }

    /// The last thread is gone: gives back the process's resources and notifies the parent.
    fn die(&self, code: Status) {
        self.files.end();
        // Taking alarms back needs no memory.
        let _ = alarm::set(self, 0, 0);
        let _ = self.look_at_cpu_time();
        family::orphan_children(self);
        let decided = self.ending.load(Ordering::Relaxed);
        let status = if decided == NOT_ENDING { code } else { Status(decided as u32) };
        if self.pid == INIT_PID {
            upcalls::init_ended(status);
        }
        // F41 release: orders all that the process did before its death. Partner: `is_dead`.
        let dead = || self.ending.store(DEAD | ENDING | u64::from(status.0), Ordering::Release);
        family::bury(self, dead);
        self.died.wake_all();
    }
}

/// exit_group, and the end by a signal: the process ends, with the current thread.
pub(crate) fn exit_group(status: Status) -> ! {
    super::current().end(status);
    exit_thread(status)
}

/// exit: the current thread ends. If it is the last one the process ends, with `status` unless
/// another status is decided. Nothing on the stack may need to be dropped.
pub(crate) fn exit_thread(status: Status) -> ! {
    let thread = current_thread();
    release_memory(&thread);
    let process: Arc<Process> = thread.process.clone();
    lazy_tlb().exit_mm();
    thread.tell_vfork_done();
    if process.remove_current_thread() {
        process.die(status);
    } else if thread.has_children.load(Ordering::Relaxed) {
        // Set by this thread, or under the lock that it took to leave the list.
        family::leave_children(&process, task::current().tid());
    }
    drop(process);
    task::exit_current()
}

/// Releases what other threads wait for in memory that is about to be given up: Linux's
/// `mm_release`.
pub(super) fn release_memory(thread: &Thread) {
    upcalls::release_robust_list(thread);
    let address = UserAddr(thread.clear_child_tid.swap(0, Ordering::Relaxed));
    // Only a thread that shares the memory can look; without one the store could copy a page for
    // nothing.
    let shared = || lazy_tlb().mm(task::current().mm.mm()).users() > 1;
    if !address.is_null() && shared() {
        // A bad address is not reported. Waiters are woken even if the word cannot be written: it
        // may have become read-only meanwhile.
        let _ = address.write(0_u32);
        upcalls::wake_futex_at(address);
    }
    mm::leave();
}
