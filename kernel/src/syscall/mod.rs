//! System calls: Linux's numbers and conventions for ppc64.
//!
//! Number in r0, arguments in r3 to r8, result in r3; an error is the positive
//! errno with CR0.SO set. Each row of the table names a call's arguments and the function
//! that takes them; a call that changes the frame, or waits with it, takes the frame itself.

use core::sync::atomic::{AtomicU64, Ordering};

use arch::exceptions::TrapFrame;

use self::names::{AT_SYMLINK_NOFOLLOW, HERE};
use self::stat::STATFS_BYTES;
use crate::errno::Errno;
use crate::process::signal;
use crate::task;

mod accounting;
mod attributes;
mod files;
pub(crate) mod futex;
mod links;
mod locks;
mod memory;
mod misc;
mod names;
mod poll;
mod prctl;
mod priorities;
mod processes;
pub(crate) mod robust_list;
mod scheduling;
mod segments;
mod select;
mod shm;
mod signal_values;
mod signals;
mod sizes;
mod sockets;
mod stat;
mod time;
mod watch;

/// What a call gives.
pub(crate) type Result<T = u64> = core::result::Result<T, Errno>;

/// A call.
type Handler = fn(&mut TrapFrame) -> Result;

/// Inside the kernel only: the call has changed the frame itself (exec, sigreturn).
pub(crate) const FRAME_REPLACED: Errno = Errno(600);

/// Numbers are below this.
const NR_CALLS: usize = 460;

/// Serves one call. Interrupts and preemption on.
#[inline]
pub(crate) fn dispatch(frame: &mut TrapFrame) {
    let number = frame.syscall_number() as usize;
    let handler = TABLE.get(number).copied().unwrap_or(unknown);
    match handler(frame) {
        Ok(result) => frame.set_result(result.cast_signed()),
        Err(errno) => fail(frame, errno),
    }
}

#[cold]
fn fail(frame: &mut TrapFrame, errno: Errno) {
    match errno {
        signal::ERESTARTSYS => signal::restart_or_interrupt(frame),
        signal::ERESTARTNOINTR => signal::restart(frame),
        FRAME_REPLACED => {}
        _ => frame.set_result(-i64::from(errno.0)),
    }
}

/// A row of the table: the call's arguments, and the function that takes them.
macro_rules! call {
    (|$($argument:ident),+| $call:expr) => {
        |frame: &mut TrapFrame| -> Result {
            let [$($argument,)+ ..] = frame.syscall_args();
            $call
        }
    };
}

/// A call that we do not have: said once for each number.
fn unknown(frame: &mut TrapFrame) -> Result {
    static SAID: [AtomicU64; NR_CALLS.div_ceil(64)] = [const { AtomicU64::new(0) }; NR_CALLS.div_ceil(64)];
    let number = frame.syscall_number();
    let said = SAID.get(number as usize / 64).is_some_and(|word| {
        let bit = 1 << (number % 64);
        word.fetch_or(bit, Ordering::Relaxed) & bit != 0
    });
    if !said {
        crate::println!("{}: system call {number} is not implemented", task::current().name());
    }
    Err(Errno::ENOSYS)
}

/// A call that programs try and that we choose not to have.
fn absent(_: &mut TrapFrame) -> Result {
    Err(Errno::ENOSYS)
}

/// A call that has nothing to do here.
fn nothing(_: &mut TrapFrame) -> Result {
    Ok(0)
}

/// The numbers of the calls that look at their arguments, for the test that gives each of
/// them bad ones.
#[cfg(feature = "selftest")]
pub(crate) fn numbers() -> impl Iterator<Item = usize> {
    let without_arguments: [Handler; 3] = [unknown, absent, nothing];
    let looks = move |handler: &Handler| {
        !without_arguments.iter().any(|other| core::ptr::fn_addr_eq(*other, *handler))
    };
    TABLE.iter().enumerate().filter(move |(_, handler)| looks(handler)).map(|(number, _)| number)
}

/// The calls by number (arch/powerpc/kernel/syscalls/syscall.tbl, "64").
static TABLE: [Handler; NR_CALLS] = {
    let mut table: [Handler; NR_CALLS] = [unknown; NR_CALLS];
    table[1] = processes::exit;
    table[2] = processes::fork;
    table[3] = call!(|fd, to, len| files::read(fd, to, len, None));
    table[4] = call!(|fd, from, len| files::write(fd, from, len, None));
    table[5] = call!(|path, flags, mode| names::openat(HERE, path, flags, mode));
    table[6] = call!(|fd| files::close(fd));
    table[8] = call!(|path, mode| names::creat(path, mode));
    table[9] = call!(|from, path| links::linkat(HERE, from, HERE, path, 0));
    table[10] = call!(|path| links::unlink(HERE, path));
    table[11] = processes::execve;
    table[12] = call!(|path| names::chdir(path));
    table[13] = time::time;
    table[15] = call!(|path, mode| attributes::fchmodat(HERE, path, mode));
    table[16] = call!(|path, uid, gid| attributes::fchownat(HERE, path, uid, gid, AT_SYMLINK_NOFOLLOW));
    table[19] = call!(|fd, offset, whence| files::lseek(fd, offset, whence));
    table[20] = processes::getpid;
    table[24] = nothing; // getuid
    table[27] = time::alarm;
    table[29] = signals::pause;
    table[33] = call!(|path, wanted| names::faccessat2(HERE, path, wanted, 0));
    table[34] = priorities::nice;
    table[36] = nothing; // sync: memory is all there is
    table[37] = signals::kill;
    table[38] = call!(|from, path| links::renameat2(HERE, from, HERE, path, 0));
    table[39] = call!(|path, mode| links::mkdirat(HERE, path, mode));
    table[40] = call!(|path| links::rmdir(HERE, path));
    table[41] = call!(|fd| files::dup(fd));
    table[42] = call!(|fds| files::pipe2(fds, 0));
    table[43] = accounting::times;
    table[45] = memory::brk;
    table[47] = nothing; // getgid
    table[49] = nothing; // geteuid
    table[50] = nothing; // getegid
    table[54] = call!(|fd, request, argument| files::ioctl(fd, request, argument));
    table[55] = call!(|fd, command, argument| files::fcntl(fd, command, argument));
    table[57] = processes::setpgid;
    table[60] = call!(|mask| names::umask(mask));
    table[63] = call!(|old, new| files::dup2(old, new));
    table[64] = processes::getppid;
    table[65] = processes::getpgrp;
    table[66] = processes::setsid;
    table[75] = misc::setrlimit;
    table[77] = accounting::getrusage;
    table[78] = time::gettimeofday;
    table[83] = call!(|target, path| links::symlinkat(target, HERE, path));
    table[85] = call!(|path, to, len| names::readlinkat(HERE, path, to, len));
    table[88] = misc::reboot;
    table[90] = memory::mmap;
    table[91] = memory::munmap;
    table[92] = call!(|path, len| sizes::truncate(path, len));
    table[93] = call!(|fd, len| sizes::ftruncate(fd, len));
    table[94] = call!(|fd, mode| attributes::fchmod(fd, mode));
    table[95] = call!(|fd, uid, gid| attributes::fchown(fd, uid, gid));
    table[96] = priorities::getpriority;
    table[97] = priorities::setpriority;
    table[99] = call!(|path, to| stat::statfs(path, STATFS_BYTES, to));
    table[100] = call!(|fd, to| stat::fstatfs(fd, STATFS_BYTES, to));
    table[104] = time::setitimer;
    table[105] = time::getitimer;
    table[106] = call!(|path, to| stat::newfstatat(HERE, path, to, 0));
    table[107] = call!(|path, to| stat::newfstatat(HERE, path, to, AT_SYMLINK_NOFOLLOW));
    table[108] = call!(|fd, to| stat::fstat(fd, to));
    table[114] = processes::wait4;
    table[116] = accounting::sysinfo;
    table[117] = call!(|call, first, second, third, pointer| shm::ipc(call, first, second, third, pointer));
    table[118] = call!(|fd| files::fsync(fd));
    table[120] = processes::clone;
    table[122] = misc::uname;
    table[125] = memory::mprotect;
    table[132] = processes::getpgid;
    table[133] = call!(|fd| names::fchdir(fd));
    table[140] = call!(|fd, high, low, to, whence| files::llseek(fd, high, low, to, whence));
    table[142] = select::select;
    table[144] = memory::msync;
    table[145] = call!(|fd, pieces, count| files::readv(fd, pieces, count, None));
    table[146] = call!(|fd, pieces, count| files::writev(fd, pieces, count, None));
    table[147] = processes::getsid;
    table[148] = call!(|fd| files::fsync(fd)); // fdatasync
    table[150] = memory::mlock;
    table[151] = memory::munlock;
    table[152] = memory::mlockall;
    table[153] = nothing; // munlockall
    table[154] = priorities::sched_setparam;
    table[155] = priorities::sched_getparam;
    table[156] = priorities::sched_setscheduler;
    table[157] = priorities::sched_getscheduler;
    table[158] = scheduling::sched_yield;
    table[159] = priorities::sched_get_priority_max;
    table[160] = priorities::sched_get_priority_min;
    table[161] = priorities::sched_rr_get_interval;
    table[162] = time::nanosleep;
    table[163] = memory::mremap;
    table[167] = poll::poll;
    table[171] = prctl::prctl;
    table[172] = signals::rt_sigreturn;
    table[173] = signals::rt_sigaction;
    table[174] = signals::rt_sigprocmask;
    table[175] = signals::rt_sigpending;
    table[176] = signal_values::rt_sigtimedwait;
    table[177] = signal_values::rt_sigqueueinfo;
    table[178] = signals::rt_sigsuspend;
    table[179] = call!(|fd, to, len, at| files::read(fd, to, len, Some(at)));
    table[180] = call!(|fd, from, len, at| files::write(fd, from, len, Some(at)));
    table[181] = call!(|path, uid, gid| attributes::fchownat(HERE, path, uid, gid, 0));
    table[182] = call!(|to, len| names::getcwd(to, len));
    table[185] = signals::sigaltstack;
    table[189] = processes::vfork;
    table[190] = misc::getrlimit;
    table[202] = call!(|fd, to, len| files::getdents64(fd, to, len));
    table[205] = memory::madvise;
    table[206] = memory::mincore;
    table[207] = processes::gettid;
    table[208] = signals::tkill;
    table[221] = futex::futex;
    table[222] = scheduling::sched_setaffinity;
    table[223] = scheduling::sched_getaffinity;
    table[232] = processes::set_tid_address;
    table[234] = processes::exit_group;
    table[246] = time::clock_gettime;
    table[247] = time::clock_getres;
    table[248] = time::clock_nanosleep;
    table[250] = signals::tgkill;
    table[252] = call!(|path, size, to| stat::statfs(path, size, to));
    table[253] = call!(|fd, size, to| stat::fstatfs(fd, size, to));
    table[280] = select::pselect6;
    table[281] = poll::ppoll;
    table[286] = call!(|fd, path, flags, mode| names::openat(fd, path, flags, mode));
    table[287] = call!(|fd, path, mode| links::mkdirat(fd, path, mode));
    table[289] = call!(|fd, path, uid, gid, flags| attributes::fchownat(fd, path, uid, gid, flags));
    table[291] = call!(|fd, path, to, flags| stat::newfstatat(fd, path, to, flags));
    table[292] = call!(|fd, path, flags| links::unlinkat(fd, path, flags));
    table[293] = call!(|from_fd, from, fd, path| links::renameat2(from_fd, from, fd, path, 0));
    table[294] = call!(|from_fd, from, fd, path, flags| links::linkat(from_fd, from, fd, path, flags));
    table[295] = call!(|target, fd, path| links::symlinkat(target, fd, path));
    table[296] = call!(|fd, path, to, len| names::readlinkat(fd, path, to, len));
    table[297] = call!(|fd, path, mode| attributes::fchmodat(fd, path, mode));
    table[298] = call!(|fd, path, wanted| names::faccessat2(fd, path, wanted, 0));
    table[299] = robust_list::get_robust_list;
    table[300] = robust_list::set_robust_list;
    table[302] = scheduling::getcpu;
    table[304] = call!(|fd, path, times, flags| attributes::utimensat(fd, path, times, flags));
    table[307] = call!(|start| sockets::eventfd2(start, 0));
    table[309] = call!(|fd, mode, start, len| sizes::fallocate(fd, mode, start, len));
    table[314] = call!(|start, flags| sockets::eventfd2(start, flags));
    table[316] = call!(|old, new, flags| files::dup3(old, new, flags));
    table[317] = call!(|fds, flags| files::pipe2(fds, flags));
    table[320] = call!(|fd, pieces, count, at| files::readv(fd, pieces, count, Some(at)));
    table[321] = call!(|fd, pieces, count, at| files::writev(fd, pieces, count, Some(at)));
    table[322] = signal_values::rt_tgsigqueueinfo;
    table[325] = misc::prlimit64;
    table[333] = call!(|family, kind, protocol, fds| sockets::socketpair(family, kind, protocol, fds));
    table[355] = priorities::sched_setattr;
    table[356] = priorities::sched_getattr;
    table[357] = call!(|from_fd, from, fd, path, flags| links::renameat2(from_fd, from, fd, path, flags));
    table[359] = misc::getrandom;
    table[365] = misc::membarrier;
    table[378] = memory::mlock2;
    table[383] = absent; // statx
    table[387] = absent; // rseq
    table[435] = absent; // clone3
    table[439] = call!(|fd, path, wanted, flags| names::faccessat2(fd, path, wanted, flags));
    table[449] = absent; // futex_waitv
    table
};
