//! Processes: fork, exec, exit, wait, kill.

use core::ffi::CStr;
use core::fmt;
use core::ptr;

use crate::sys::{Errno, nr, syscall};

/// A process, by its number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pid(pub i32);

/// SIGILL: an illegal or privileged instruction.
pub const SIGILL: i32 = 4;
/// SIGTRAP: a trap instruction.
pub const SIGTRAP: i32 = 5;
/// SIGBUS: an access that its alignment forbids.
pub const SIGBUS: i32 = 7;
/// SIGKILL: cannot be refused.
pub const SIGKILL: i32 = 9;
/// SIGSEGV: an access to memory that is not mapped or not allowed.
pub const SIGSEGV: i32 = 11;
/// SIGPIPE: a write to a pipe without readers.
pub const SIGPIPE: i32 = 13;
const SIGCHLD: usize = 17;

/// How a process ended, as wait4 packs it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Status(i32);

impl Status {
    /// It called exit with this status.
    #[must_use]
    pub const fn exit(status: i32) -> Self {
        Self((status & 0xff) << 8)
    }

    /// This signal ended it.
    #[must_use]
    pub const fn signal(signal: i32) -> Self {
        Self(signal)
    }

    /// This status without the core-dump flag, which depends on limits.
    #[must_use]
    pub const fn without_core(self) -> Self {
        Self(self.0 & !0x80)
    }

    /// Whether it ended by exit with status 0.
    #[must_use]
    pub fn success(self) -> bool {
        self.0 == 0
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 & 0x7f {
            0 => write!(f, "exit {}", self.0 >> 8 & 0xff),
            signal => write!(f, "signal {signal}"),
        }
    }
}

impl fmt::Debug for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Makes a copy of the process: None in the copy, the copy's number in the original.
///
/// # Errors
/// `EAGAIN`, `ENOMEM`.
pub fn fork() -> Result<Option<Pid>, Errno> {
    clone(SIGCHLD)
}

/// [`spawn`] with clone's flags, none that share memory, and the signal that the
/// child sends at its end.
///
/// # Errors
/// `EINVAL`, and those of [`fork`].
pub fn spawn_as(flags: usize, child: impl FnOnce() -> i32) -> Result<Pid, Errno> {
    match clone(flags)? {
        Some(pid) => Ok(pid),
        None => exit_group(child()),
    }
}

fn clone(flags: usize) -> Result<Option<Pid>, Errno> {
    // SAFETY: the child runs on a copy of everything. Only the calling thread is
    // copied; a lock that another holds (the heap's) stays held in the child.
    let pid = unsafe { syscall(nr::CLONE, [flags, 0, 0, 0, 0, 0]) }?;
    Ok((pid != 0).then_some(Pid(pid as i32)))
}

/// Runs `child` in a forked process, which exits with the value of `child`.
///
/// # Errors
/// Those of [`fork`].
pub fn spawn(child: impl FnOnce() -> i32) -> Result<Pid, Errno> {
    spawn_as(SIGCHLD, child)
}

/// [`spawn`] with the caller's descriptors shared.
///
/// # Errors
/// Those of [`fork`].
pub fn spawn_with_files(child: impl FnOnce() -> i32) -> Result<Pid, Errno> {
    const CLONE_FILES: usize = 0x400;
    spawn_as(CLONE_FILES | SIGCHLD, child)
}

/// [`spawn`], and the calling thread sleeps until the child has exited. No signal
/// that is handled ends that sleep.
///
/// # Errors
/// Those of [`fork`].
pub fn spawn_ahead(child: impl FnOnce() -> i32) -> Result<Pid, Errno> {
    const CLONE_VFORK: usize = 0x4000;
    spawn_as(CLONE_VFORK | SIGCHLD, child)
}

/// Most strings that one vector of [`exec`] takes.
pub const EXEC_STRINGS: usize = 15;

/// Becomes the program at `path`; returns only if that failed.
///
/// # Panics
/// If there are more than [`EXEC_STRINGS`] arguments or variables.
pub fn exec(path: &CStr, args: &[&CStr], vars: &[&CStr]) -> Errno {
    let vector = |strings: &[&CStr]| {
        assert!(strings.len() <= EXEC_STRINGS, "too many strings to exec");
        let mut pointers = [ptr::null(); EXEC_STRINGS + 1];
        for (pointer, string) in pointers.iter_mut().zip(strings) {
            *pointer = string.as_ptr();
        }
        pointers
    };
    let (args, vars) = (vector(args), vector(vars));
    let call = [path.as_ptr() as usize, args.as_ptr() as usize, vars.as_ptr() as usize, 0, 0, 0];
    // SAFETY: path and vectors live during the call; if it succeeds, nothing of
    // this program is left to be unsound.
    match unsafe { syscall(nr::EXECVE, call) } {
        Ok(_) => unreachable!("execve came back"),
        Err(why) => why,
    }
}

/// Waits until `child` has ended; returns its status.
///
/// # Errors
/// `ECHILD` if it is no child of ours, or was waited for.
pub fn wait(child: Pid) -> Result<Status, Errno> {
    wait4(child.0).map(|ended| ended.1)
}

/// Waits for any child to end.
///
/// # Errors
/// `ECHILD` if there is none.
pub fn wait_any() -> Result<(Pid, Status), Errno> {
    wait4(-1)
}

fn wait4(pid: i32) -> Result<(Pid, Status), Errno> {
    let mut status = 0i32;
    let args = [pid as isize as usize, &raw mut status as usize, 0, 0, 0, 0];
    // SAFETY: the kernel writes the status, which is ours.
    let pid = unsafe { syscall(nr::WAIT4, args) }?;
    Ok((Pid(pid as i32), Status(status)))
}

/// Sends `signal` to a process.
///
/// # Errors
/// `ESRCH` if there is none.
pub fn kill(pid: Pid, signal: i32) -> Result<(), Errno> {
    // SAFETY: touches no memory of ours.
    unsafe { syscall(nr::KILL, [pid.0 as usize, signal as usize, 0, 0, 0, 0]) }.map(drop)
}

/// Ignores `signal` from now on, also after exec.
///
/// # Errors
/// `EINVAL` for SIGKILL and SIGSTOP.
pub fn ignore(signal: i32) -> Result<(), Errno> {
    const SIG_IGN: usize = 1;
    set_action(signal, SIG_IGN, 0)
}

/// Installs `handler` for `signal`, with the signals of `blocked` (bit n - 1 for
/// signal n) blocked while it runs.
///
/// # Errors
/// `EINVAL` for SIGKILL and SIGSTOP.
pub fn handle(signal: i32, handler: extern "C" fn(i32), blocked: usize) -> Result<(), Errno> {
    set_action(signal, handler as *const () as usize, blocked)
}

fn set_action(signal: i32, handler: usize, blocked: usize) -> Result<(), Errno> {
    const SA_RESTART: usize = 0x1000_0000;
    // The kernel's `struct sigaction`: handler, flags, restorer, mask.
    let action = [handler, SA_RESTART, 0, blocked];
    // SAFETY: the kernel reads the structure. A handler is safe code that is given an
    // integer.
    unsafe { syscall(nr::RT_SIGACTION, [signal as usize, action.as_ptr() as usize, 0, 8, 0, 0]) }.map(drop)
}

/// The number of this process.
#[must_use]
pub fn getpid() -> Pid {
    // SAFETY: touches no memory.
    Pid(unsafe { syscall(nr::GETPID, [0; 6]) }.unwrap_or(0) as i32)
}

/// The number of the parent.
#[must_use]
pub fn getppid() -> Pid {
    // SAFETY: touches no memory.
    Pid(unsafe { syscall(nr::GETPPID, [0; 6]) }.unwrap_or(0) as i32)
}

/// Ends the process with all its threads.
pub fn exit_group(status: i32) -> ! {
    // SAFETY: nothing of ours runs afterwards.
    let _ = unsafe { syscall(nr::EXIT_GROUP, [status as usize, 0, 0, 0, 0, 0]) };
    unreachable!("exit_group came back")
}
