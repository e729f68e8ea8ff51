//! One system call, and its possible errors.
//!
//! powerpc64 Linux: number in r0, arguments in r3 to r8, `sc`. The answer is in
//! r3; CR0.SO set means that it is an error number (positive). The registers
//! that the ELF ABI calls volatile are lost, the rest is kept.

use core::arch::asm;
use core::fmt;

/// Numbers of the calls that the runtime makes (Linux `syscall.tbl`, column 64).
pub(crate) mod nr {
    pub(crate) const EXIT: usize = 1;
    pub(crate) const READ: usize = 3;
    pub(crate) const WRITE: usize = 4;
    pub(crate) const CLOSE: usize = 6;
    pub(crate) const EXECVE: usize = 11;
    pub(crate) const GETPID: usize = 20;
    pub(crate) const KILL: usize = 37;
    pub(crate) const DUP: usize = 41;
    pub(crate) const BRK: usize = 45;
    pub(crate) const GETPPID: usize = 64;
    pub(crate) const MMAP: usize = 90;
    pub(crate) const MUNMAP: usize = 91;
    pub(crate) const WAIT4: usize = 114;
    pub(crate) const CLONE: usize = 120;
    pub(crate) const MPROTECT: usize = 125;
    pub(crate) const SCHED_YIELD: usize = 158;
    pub(crate) const RT_SIGACTION: usize = 173;
    pub(crate) const MADVISE: usize = 205;
    pub(crate) const GETTID: usize = 207;
    pub(crate) const FUTEX: usize = 221;
    pub(crate) const SCHED_SETAFFINITY: usize = 222;
    pub(crate) const SCHED_GETAFFINITY: usize = 223;
    pub(crate) const EXIT_GROUP: usize = 234;
    pub(crate) const CLOCK_GETTIME: usize = 246;
    pub(crate) const CLOCK_NANOSLEEP: usize = 248;
    pub(crate) const OPENAT: usize = 286;
    pub(crate) const GETCPU: usize = 302;
    pub(crate) const PIPE2: usize = 317;
    pub(crate) const MEMBARRIER: usize = 365;
}

/// Makes system call `nr`.
///
/// # Errors
/// The kernel's error number.
///
/// # Safety
/// The call may read, write, map and unmap memory: with these arguments its
/// effect must be sound for the caller.
#[inline(always)]
pub unsafe fn syscall(nr: usize, args: [usize; 6]) -> Result<usize, Errno> {
    let mut answer = args[0];
    let mut error: u64;
    // SAFETY: the caller's promise; the clobbers are the ABI's.
    unsafe {
        asm!(
            "sc",
            // CR0.SO, from bit 28 of the condition register.
            "mfcr 0",
            inlateout("r0") nr => error,
            inlateout("r3") answer,
            inlateout("r4") args[1] => _,
            inlateout("r5") args[2] => _,
            inlateout("r6") args[3] => _,
            inlateout("r7") args[4] => _,
            inlateout("r8") args[5] => _,
            lateout("r9") _, lateout("r10") _, lateout("r11") _, lateout("r12") _,
            lateout("ctr") _, lateout("xer") _,
            lateout("cr0") _, lateout("cr1") _, lateout("cr5") _, lateout("cr6") _, lateout("cr7") _,
            options(nostack),
        );
    }
    error &= 1 << 28;
    if error == 0 { Ok(answer) } else { Err(Errno(answer as i32)) }
}

/// [`syscall`] with as many arguments as matter: the value, or an error number
/// below 0.
///
/// # Safety
/// That of [`syscall`].
pub unsafe fn answer(nr: usize, args: &[usize]) -> isize {
    let mut all = [0; 6];
    all[..args.len()].copy_from_slice(args);
    // SAFETY: the caller's promise.
    match unsafe { syscall(nr, all) } {
        Ok(value) => value as isize,
        Err(errno) => -errno.0 as isize,
    }
}

/// An error number of Linux, positive.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Errno(pub i32);

macro_rules! errnos {
    ($($number:literal $name:ident $meaning:literal,)*) => {
        impl Errno {
            $(#[doc = $meaning] pub const $name: Errno = Errno($number);)*

            fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($number => Some(stringify!($name)),)*
                    _ => None,
                }
            }
        }
    };
}

errnos! {
    1 EPERM "Not permitted.",
    2 ENOENT "No such file.",
    3 ESRCH "No such process.",
    4 EINTR "Interrupted by a signal.",
    5 EIO "Input or output error.",
    7 E2BIG "Argument list too long.",
    8 ENOEXEC "Not an executable of this machine.",
    9 EBADF "Not an open descriptor.",
    10 ECHILD "No child to wait for.",
    11 EAGAIN "Try again.",
    12 ENOMEM "Out of memory.",
    13 EACCES "Access denied.",
    14 EFAULT "Bad address.",
    16 EBUSY "Busy.",
    17 EEXIST "Exists already.",
    20 ENOTDIR "Not a directory.",
    21 EISDIR "A directory.",
    22 EINVAL "Invalid argument.",
    24 EMFILE "Too many open descriptors.",
    29 ESPIPE "Not seekable.",
    32 EPIPE "Nobody reads the pipe.",
    38 ENOSYS "No such system call.",
    110 ETIMEDOUT "Timed out.",
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "errno {}", self.0),
        }
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
