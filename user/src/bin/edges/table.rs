//! The calls, and which of their arguments are addresses.

/// An argument.
pub(crate) enum Arg {
    /// As it is.
    Value(usize),
    /// A descriptor of a regular file.
    File,
    /// A descriptor of a directory.
    Directory,
    /// The number of a segment of shared memory.
    Segment,
    /// The address of these bytes, all of which the call reads.
    In(&'static [u8]),
    /// The address of a path.
    Path(&'static str),
    /// The address of a vector of one good piece.
    Piece,
    /// The address of so many bytes, which the call reads, writes, or both.
    Out(usize),
    /// The address of so many bytes, of which the call may use a part.
    Some(usize),
    /// The address of an aligned word of zero.
    Word,
}
use Arg::{Directory, File, In, Out, Path, Piece, Segment, Some, Value, Word};

/// A call.
pub(crate) struct Call {
    pub(crate) nr: usize,
    pub(crate) name: &'static str,
    pub(crate) args: &'static [Arg],
    /// With good arguments it does not return.
    pub(crate) blocks: bool,
    /// It waits for a child.
    pub(crate) takes_child: bool,
}

/// A call with these arguments: each address among them is tried.
const fn call(nr: usize, name: &'static str, args: &'static [Arg]) -> Call {
    Call { nr, name, args, blocks: false, takes_child: false }
}

/// A call without addresses.
const fn plain(nr: usize, name: &'static str) -> Call {
    call(nr, name, &[])
}

/// A call whose edges another part of this program, or memcalls, tests: ranges, stacks,
/// or addresses that are used later.
const fn elsewhere(nr: usize, name: &'static str) -> Call {
    call(nr, name, &[])
}

const fn blocks(call: Call) -> Call {
    Call { blocks: true, ..call }
}

const fn with_child(call: Call) -> Call {
    Call { takes_child: true, ..call }
}

const HERE: Arg = Value(-100_isize as usize);
const ZERO: Arg = Value(0);
const ONE: Arg = Value(1);
const NONE: Arg = Path("/tmp/edges-none");
const TMP: Arg = Path("/tmp");
/// A moment of length zero, or two.
const NOW: Arg = In(&[0; 16]);
const TWICE_NOW: Arg = In(&[0; 32]);
/// `struct stat`, `struct statfs`, `struct rusage`.
const STAT: Arg = Out(144);
const STATFS: Arg = Out(120);
const RUSAGE: Arg = Out(144);
/// No limit.
const UNLIMITED: Arg = In(&[0xff; 16]);
/// A set of signals, or an empty vector of strings.
const EMPTY: Arg = In(&[0; 8]);

/// Every call of this kernel, and calls of Linux that may be added.
pub(crate) const CALLS: &[Call] = &[
    plain(1, "exit"),
    plain(2, "fork"),
    call(3, "read", &[File, Out(16), Value(16)]),
    call(4, "write", &[File, Out(16), Value(16)]),
    call(5, "open", &[NONE, ZERO, ZERO]),
    plain(6, "close"),
    call(8, "creat", &[Path("/tmp/edges-none/x"), ZERO]),
    call(9, "link", &[TMP, TMP]),
    call(10, "unlink", &[NONE]),
    call(11, "execve", &[NONE, EMPTY, EMPTY]),
    call(12, "chdir", &[NONE]),
    call(13, "time", &[Out(8)]),
    call(15, "chmod", &[NONE, ZERO]),
    call(16, "lchown", &[NONE, ZERO, ZERO]),
    plain(19, "lseek"),
    plain(20, "getpid"),
    plain(27, "alarm"),
    plain(29, "pause"),
    call(30, "utime", &[TMP, NOW]),
    call(33, "access", &[NONE, ZERO]),
    plain(34, "nice"),
    plain(36, "sync"),
    plain(37, "kill"),
    call(38, "rename", &[NONE, NONE]),
    call(39, "mkdir", &[Path("/tmp"), ZERO]),
    call(40, "rmdir", &[NONE]),
    plain(41, "dup"),
    call(42, "pipe", &[Out(8)]),
    call(43, "times", &[Out(32)]),
    elsewhere(45, "brk"),
    // The console's window.
    call(54, "ioctl", &[ONE, Value(0x4008_7468), Out(8)]),
    // Locks and owners take structures; the arguments of the commands that exist are numbers.
    plain(55, "fcntl"),
    plain(57, "setpgid"),
    plain(60, "umask"),
    plain(63, "dup2"),
    plain(64, "getppid"),
    plain(65, "getpgrp"),
    plain(66, "setsid"),
    call(75, "setrlimit", &[Value(4), UNLIMITED]),
    call(77, "getrusage", &[ZERO, RUSAGE]),
    call(78, "gettimeofday", &[Out(16), Out(8)]),
    call(83, "symlink", &[TMP, TMP]),
    call(85, "readlink", &[Path("/proc/self/exe"), Out(4), Value(4)]),
    plain(88, "reboot"),
    elsewhere(90, "mmap"),
    elsewhere(91, "munmap"),
    call(92, "truncate", &[NONE, ZERO]),
    plain(93, "ftruncate"),
    plain(94, "fchmod"),
    plain(95, "fchown"),
    plain(96, "getpriority"),
    plain(97, "setpriority"),
    call(99, "statfs", &[TMP, STATFS]),
    call(100, "fstatfs", &[File, STATFS]),
    call(104, "setitimer", &[ZERO, TWICE_NOW, Out(32)]),
    call(105, "getitimer", &[ZERO, Out(32)]),
    call(106, "stat", &[TMP, STAT]),
    call(107, "lstat", &[TMP, STAT]),
    call(108, "fstat", &[File, STAT]),
    with_child(call(114, "wait4", &[Value(usize::MAX), Out(4), ZERO, ZERO])),
    with_child(call(114, "wait4, with its usage", &[Value(usize::MAX), ZERO, ZERO, RUSAGE])),
    call(116, "sysinfo", &[Out(112)]),
    call(117, "ipc: shmat", &[Value(21), Segment, ZERO, Out(8), ZERO]),
    call(117, "ipc: IPC_STAT", &[Value(24), Segment, Value(0x102), ZERO, Out(112)]),
    plain(118, "fsync"),
    elsewhere(120, "clone"),
    call(122, "uname", &[Out(390)]),
    elsewhere(125, "mprotect"),
    plain(132, "getpgid"),
    plain(133, "fchdir"),
    call(140, "_llseek", &[File, ZERO, ZERO, Out(8), ZERO]),
    call(142, "select", &[ONE, Out(8), ZERO, ZERO, NOW]),
    plain(143, "flock"),
    elsewhere(144, "msync"),
    call(145, "readv", &[File, Piece, ONE]),
    call(146, "writev", &[File, Piece, ONE]),
    plain(147, "getsid"),
    plain(148, "fdatasync"),
    elsewhere(150, "mlock"),
    elsewhere(151, "munlock"),
    elsewhere(152, "mlockall"),
    elsewhere(153, "munlockall"),
    call(154, "sched_setparam", &[ZERO, In(&[0; 4])]),
    call(155, "sched_getparam", &[ZERO, Out(4)]),
    call(156, "sched_setscheduler", &[ZERO, ZERO, In(&[0; 4])]),
    plain(157, "sched_getscheduler"),
    plain(158, "sched_yield"),
    plain(159, "sched_get_priority_max"),
    plain(160, "sched_get_priority_min"),
    call(161, "sched_rr_get_interval", &[ZERO, Out(16)]),
    call(162, "nanosleep", &[NOW, ZERO]),
    elsewhere(163, "mremap"),
    call(167, "poll", &[Out(8), ONE, ZERO]),
    call(171, "prctl: PR_SET_NAME", &[Value(15), Path("edges")]),
    call(171, "prctl: PR_GET_NAME", &[Value(16), Out(16)]),
    elsewhere(172, "rt_sigreturn"),
    call(173, "rt_sigaction", &[Value(12), TWICE_NOW, Out(32), Value(8)]),
    call(174, "rt_sigprocmask", &[ZERO, EMPTY, Out(8), Value(8)]),
    call(175, "rt_sigpending", &[Out(8), Value(8)]),
    call(176, "rt_sigtimedwait", &[EMPTY, ZERO, NOW, Value(8)]),
    call(177, "rt_sigqueueinfo", &[Value(0x7fff_ffff), ONE, Out(128)]),
    blocks(call(178, "rt_sigsuspend", &[EMPTY, Value(8)])),
    call(179, "pread64", &[File, Out(16), Value(16), ZERO]),
    call(180, "pwrite64", &[File, Out(16), Value(16), ZERO]),
    call(181, "chown", &[NONE, ZERO, ZERO]),
    call(182, "getcwd", &[Some(256), Value(256)]),
    // Switched off: signals.rs tests the stack that a handler would run on.
    call(
        185,
        "sigaltstack",
        &[In(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]), Out(24)],
    ),
    call(186, "sendfile", &[File, File, Out(8), ONE]),
    plain(189, "vfork"),
    call(190, "getrlimit", &[Value(4), Out(16)]),
    call(202, "getdents64", &[Directory, Some(256), Value(256)]),
    elsewhere(205, "madvise"),
    elsewhere(206, "mincore"),
    plain(207, "gettid"),
    plain(208, "tkill"),
    // FUTEX_WAIT for a 1 that is not there, for some time.
    call(221, "futex", &[Word, ZERO, ONE, NOW]),
    call(222, "sched_setaffinity", &[ZERO, Value(8), In(&[0xff; 8])]),
    call(223, "sched_getaffinity", &[ZERO, Value(128), Some(128)]),
    plain(232, "set_tid_address"),
    plain(234, "exit_group"),
    call(245, "clock_settime", &[Value(99), NOW]),
    call(246, "clock_gettime", &[ONE, Out(16)]),
    call(247, "clock_getres", &[ONE, Out(16)]),
    call(248, "clock_nanosleep", &[ONE, ZERO, NOW, ZERO]),
    plain(250, "tgkill"),
    call(251, "utimes", &[TMP, TWICE_NOW]),
    call(252, "statfs64", &[TMP, Value(120), STATFS]),
    call(253, "fstatfs64", &[File, Value(120), STATFS]),
    call(272, "waitid", &[ZERO, ZERO, Out(128), Value(0x0100_0005)]),
    plain(273, "ioprio_set"),
    plain(274, "ioprio_get"),
    call(280, "pselect6", &[ONE, Out(8), ZERO, ZERO, NOW, ZERO]),
    call(281, "ppoll", &[Out(8), ONE, NOW, EMPTY, Value(8)]),
    call(286, "openat", &[HERE, NONE, ZERO, ZERO]),
    call(287, "mkdirat", &[HERE, TMP, ZERO]),
    call(289, "fchownat", &[HERE, NONE, ZERO, ZERO, ZERO]),
    call(290, "futimesat", &[HERE, TMP, TWICE_NOW]),
    call(291, "newfstatat", &[HERE, TMP, STAT, ZERO]),
    call(292, "unlinkat", &[HERE, NONE, ZERO]),
    call(293, "renameat", &[HERE, NONE, HERE, NONE]),
    call(294, "linkat", &[HERE, TMP, HERE, TMP, ZERO]),
    call(295, "symlinkat", &[TMP, HERE, TMP]),
    call(296, "readlinkat", &[HERE, Path("/proc/self/exe"), Out(4), Value(4)]),
    call(297, "fchmodat", &[HERE, NONE, ZERO]),
    call(298, "faccessat", &[HERE, NONE, ZERO]),
    call(299, "get_robust_list", &[ZERO, Out(8), Out(8)]),
    elsewhere(300, "set_robust_list"),
    call(302, "getcpu", &[Out(4), Out(4), ZERO]),
    call(304, "utimensat", &[HERE, TMP, TWICE_NOW, ZERO]),
    plain(307, "eventfd"),
    plain(308, "sync_file_range2"),
    plain(309, "fallocate"),
    plain(314, "eventfd2"),
    plain(316, "dup3"),
    call(317, "pipe2", &[Out(8), ZERO]),
    call(320, "preadv", &[File, Piece, ONE, ZERO, ZERO]),
    call(321, "pwritev", &[File, Piece, ONE, ZERO, ZERO]),
    call(322, "rt_tgsigqueueinfo", &[Value(0x7fff_ffff), Value(0x7fff_ffff), ONE, Out(128)]),
    call(325, "prlimit64", &[ZERO, Value(4), UNLIMITED, Out(16)]),
    call(333, "socketpair", &[ONE, ONE, ZERO, Out(8)]),
    plain(338, "shutdown"),
    call(355, "sched_setattr", &[ZERO, In(&[0; 48]), ZERO]),
    call(356, "sched_getattr", &[ZERO, Out(48), Value(48), ZERO]),
    call(357, "renameat2", &[HERE, NONE, HERE, NONE, ZERO]),
    call(359, "getrandom", &[Out(200), Value(200), ZERO]),
    plain(365, "membarrier"),
    elsewhere(378, "mlock2"),
    plain(434, "pidfd_open"),
    plain(436, "close_range"),
    call(439, "faccessat2", &[HERE, NONE, ZERO, ZERO]),
];
