//! Signals: sent ([`send_to_process`], [`send_to_thread`], [`force_on_current`]),
//! queued, and taken by a thread on its way to user mode ([`deliver`]).
//!
//! A thread looks at its signals when [`pending::SIGNAL`] is set on its task, which also ends its
//! interruptible waits. The bit may be set needlessly, but is never clear while an unblocked signal
//! waits.

use core::sync::atomic::{Ordering, fence};

use super::exit::Status;
use super::{Process, Thread, current, current_thread, table};
use crate::errno::Errno;
use crate::task::WaitQueue;
use crate::task::{self, Task, pending};

mod action;
mod alternate;
mod deliver;
mod frame;
mod queue;

pub(crate) use action::{Action, ChildEnds, Handlers};
use action::{Default, default_of};
pub(crate) use alternate::StackCell;
pub(crate) use deliver::{interrupt, restart, restart_or_interrupt, return_to_user};
pub(crate) use frame::{TRAMPOLINE_PAGE, sigreturn};
pub(crate) use queue::{FIRST_REAL_TIME, Info, LinuxInfo, Queue};

/// Ctrl-C.
pub(crate) const SIGINT: u32 = 2;
/// Ctrl-\.
pub(crate) const SIGQUIT: u32 = 3;
/// Illegal instruction.
pub(crate) const SIGILL: u32 = 4;
/// Trap instruction.
pub(crate) const SIGTRAP: u32 = 5;
/// Bad access to mapped memory.
pub(crate) const SIGBUS: u32 = 7;
/// Floating-point exception.
pub(crate) const SIGFPE: u32 = 8;
/// Ends the process; cannot be caught.
pub(crate) const SIGKILL: u32 = 9;
/// Bad address.
pub(crate) const SIGSEGV: u32 = 11;
/// Write to a pipe without readers.
pub(crate) const SIGPIPE: u32 = 13;
/// An alarm.
pub(crate) const SIGALRM: u32 = 14;
/// A child has ended.
pub(crate) const SIGCHLD: u32 = 17;
/// Go on, if stopped.
pub(crate) const SIGCONT: u32 = 18;
/// Stops the process in Linux; ignored here, and cannot be caught.
pub(crate) const SIGSTOP: u32 = 19;
/// The largest signal.
pub(crate) const LAST: u32 = 64;

/// Inside the kernel only: the call was interrupted and may be made again.
pub(crate) const ERESTARTSYS: Errno = Errno(512);

/// Inside the kernel only: the call has done nothing yet, and is made again once the signal is
/// dealt with, with or without SA_RESTART.
pub(crate) const ERESTARTNOINTR: Errno = Errno(513);

/// Inside the system calls only: the wait was interrupted. The call ends with `EINTR` if a handler
/// runs, with or without SA_RESTART. Otherwise it waits on, until its old deadline.
pub(crate) const ERESTARTNOHAND: Errno = Errno(514);

/// A signal as a bit of a mask.
pub(crate) const fn bit(signal: u32) -> u64 {
    1 << (signal - 1)
}

/// The signals that cannot be blocked, ignored or handled.
pub(crate) const UNBLOCKABLE: u64 = bit(SIGKILL) | bit(SIGSTOP);

/// The signal's C name, for messages.
pub(crate) fn name(signal: u32) -> &'static str {
    const NAMES: [&str; 16] = [
        "signal 0", "SIGHUP", "SIGINT", "SIGQUIT", "SIGILL", "SIGTRAP", "SIGABRT", "SIGBUS", "SIGFPE",
        "SIGKILL", "SIGUSR1", "SIGSEGV", "SIGUSR2", "SIGPIPE", "SIGALRM", "SIGTERM",
    ];
    NAMES.get(signal as usize).copied().unwrap_or("a signal")
}

impl Thread {
    /// The signals that wait for this thread or its process.
    pub(crate) fn waiting_signals(&self) -> u64 {
        self.signals.set() | self.process.signals.set()
    }

    /// Takes a signal that is not in `blocked`; the thread's own before those of the process.
    pub(crate) fn take_signal(&self, blocked: u64) -> Option<Info> {
        self.signals.take(blocked).or_else(|| self.process.signals.take(blocked))
    }

    /// The signals that it need not be notified of.
    fn deaf_to(&self) -> u64 {
        self.blocked.load(Ordering::Relaxed) & !self.awaited.load(Ordering::Relaxed)
    }
}

/// The current thread blocks `mask` from now on, and checks for signals that have become
/// deliverable.
#[inline]
pub(crate) fn set_blocked(mask: u64) {
    let thread = current_thread();
    thread.blocked.store(mask & !UNBLOCKABLE, Ordering::Relaxed);
    recalculate();
}

/// The current thread is notified of `signals` from now on, although it blocks them (sigtimedwait).
/// It looks for them after this call.
pub(crate) fn set_awaited(signals: u64) {
    current_thread().awaited.store(signals, Ordering::Relaxed);
    recalculate();
}

/// Recomputes the task's bit from the current thread's signals.
fn recalculate() {
    let (task, thread) = (task::current(), current_thread());
    task.clear_pending(pending::SIGNAL);
    // A sender queues the signal before it sets the bit: if we cleared the bit in between, we find
    // the signal here. F32 fence: orders the caller's masks before the look at the signals. Partners:
    // `queue_for_process`, `send_to_thread`. Either the sender sees the masks or we see the signal.
    fence(Ordering::SeqCst);
    let deaf_to = thread.deaf_to();
    if thread.waiting_signals() & !deaf_to != 0 {
        task.notify(pending::SIGNAL);
    }
    // Another thread must take the signals of the process that this one now blocks.
    tell_takers(&thread.process, deaf_to);
}

/// Sends a signal to any thread of `process` that takes it, if there is room for it.
pub(crate) fn send_to_process(process: &Process, info: Info) {
    let _ = queue_for_process(process, info);
}

/// [`send_to_process`] with a result.
///
/// # Errors
/// `EAGAIN` if too many signals wait.
pub(crate) fn queue_for_process(process: &Process, info: Info) -> Result<(), Errno> {
    if info.signal == SIGKILL {
        process.end(Status::signaled(SIGKILL));
        return Ok(());
    }
    if process.handlers().ignores(info.signal) && !first_thread_blocks(process, info.signal) {
        return Ok(());
    }
    process.signals.push(info)?;
    // F32 fence: orders the signal before the look at the threads' masks. Partner: `recalculate`.
    fence(Ordering::SeqCst);
    tell_takers(process, bit(info.signal));
    Ok(())
}

/// Forgets all instances of `signal` that wait in `process`, which ignores it from now on: a later
/// handler is for later signals (POSIX; Linux: `do_sigaction`).
pub(crate) fn discard(process: &Process, signal: u32) {
    process.signals.discard(signal);
    for task in process.threads.lock().iter() {
        if let Some(thread) = &task.user {
            thread.signals.discard(signal);
        }
    }
}

/// For each of `signals` that waits for `process`, notifies one thread that takes it. If all block
/// it, it waits for the first that no longer does. Called again when the notified thread blocks it
/// or ends instead (Linux: `retarget_shared_pending`).
#[inline]
pub(super) fn tell_takers(process: &Process, signals: u64) {
    let mut signals = signals & process.signals.set();
    if signals == 0 {
        return;
    }
    let threads = process.threads.lock();
    while signals != 0 {
        let lowest = signals & signals.wrapping_neg();
        let takes = |task: &&_| deaf_to(task) & lowest == 0;
        if let Some(taker) = threads.iter().map(|task| &**task).find(takes) {
            taker.notify(pending::SIGNAL);
        }
        signals ^= lowest;
    }
}

/// Sends a signal to all processes for which `chosen` holds, at one instant: a child that one of
/// them is making gets it, or is made after it. Without `info` it only looks. Returns whether there
/// is such a process.
pub(crate) fn send_to_all(chosen: impl Fn(&Process) -> bool, info: Option<Info>) -> bool {
    let mut any = false;
    table::for_each(|process| {
        if chosen(process) {
            any = true;
            if let Some(info) = info {
                send_to_process(process, info);
            }
        }
    });
    any
}

/// Sends a signal to one thread.
///
/// # Errors
/// `EAGAIN` if too many signals wait.
pub(crate) fn send_to_thread(task: &Task, info: Info) -> Result<(), Errno> {
    let Some(thread) = &task.user else { return Ok(()) };
    if info.signal == SIGKILL {
        thread.process.end(Status::signaled(SIGKILL));
        return Ok(());
    }
    let signal = bit(info.signal);
    // See `queue_for_process`; here the thread's own mask counts.
    if thread.process.handlers().ignores(info.signal) && blocked(task) & signal == 0 {
        return Ok(());
    }
    thread.signals.push(info)?;
    // F32 fence: orders the signal before the look at the thread's masks. Partner: `recalculate`.
    fence(Ordering::SeqCst);
    if deaf_to(task) & signal == 0 {
        task.notify(pending::SIGNAL);
    }
    Ok(())
}

/// Whether the thread that Linux looks at (`sig_ignored`) blocks `signal`. If so, the signal waits
/// even if it is ignored: it may have a handler when it is unblocked. True without threads: the
/// mask of the first one is not known yet.
fn first_thread_blocks(process: &Process, signal: u32) -> bool {
    process.threads.lock().first().is_none_or(|task| blocked(task) & bit(signal) != 0)
}

fn blocked(task: &Task) -> u64 {
    task.user.as_ref().map_or(0, |thread| thread.blocked.load(Ordering::Relaxed))
}

fn deaf_to(task: &Task) -> u64 {
    task.user.as_ref().map_or(0, Thread::deaf_to)
}

/// Sends the current thread a signal for something that it asked for.
pub(crate) fn send_to_current(signal: u32) {
    let _ = send_to_thread(&task::current(), Info::of_kernel(signal));
}

/// Has the current thread take a signal for what its program did just now. The process ends if the
/// signal is blocked or has no handler. Returns whether it ends.
pub(crate) fn force_on_current(info: Info) -> bool {
    let (process, thread) = (current(), current_thread());
    let blocked = thread.blocked.load(Ordering::Relaxed) & bit(info.signal) != 0;
    if blocked || !process.handlers().handles(info.signal) {
        process.end(Status::signaled(info.signal));
        return true;
    }
    // It is no real-time signal, so there is room.
    let _ = thread.signals.push(info);
    task::current().notify(pending::SIGNAL);
    false
}

/// Waits in `queue` until `done`; a signal ends the wait with an error that makes
/// the system call start over once the signal is dealt with.
pub(crate) fn wait(queue: &WaitQueue, done: impl FnMut() -> bool) -> Result<(), Errno> {
    queue.wait_interruptible(done).map_err(|_| ERESTARTSYS)
}

/// [`wait`] until the time base reaches `deadline_tb` at most: then `Ok(false)`. A signal ends it
/// with [`ERESTARTNOHAND`]: a call with a deadline does not start over.
pub(crate) fn wait_deadline(
    queue: &WaitQueue,
    deadline_tb: u64,
    done: impl FnMut() -> bool,
) -> Result<bool, Errno> {
    queue.wait_interruptible_deadline(done, deadline_tb).map_err(|_| ERESTARTNOHAND)
}
