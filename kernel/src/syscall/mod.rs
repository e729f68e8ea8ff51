//! System calls: Linux's numbers and conventions for ppc64.
//!
//! Number in r0, arguments in r3 to r8, result in r3; an error is the positive
//! errno with CR0.SO set. A call of the table takes the frame, reads its arguments
//! from there, and returns its result.

use core::sync::atomic::{AtomicU64, Ordering};

use arch::exceptions::TrapFrame;

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
    table[3] = files::read;
    table[4] = files::write;
    table[5] = names::open;
    table[6] = files::close;
    table[8] = names::creat;
    table[9] = links::link;
    table[10] = links::unlink;
    table[11] = processes::execve;
    table[12] = names::chdir;
    table[13] = time::time;
    table[15] = attributes::chmod;
    table[16] = attributes::lchown;
    table[19] = files::lseek;
    table[20] = processes::getpid;
    table[24] = nothing; // getuid
    table[27] = time::alarm;
    table[29] = signals::pause;
    table[33] = names::access;
    table[34] = priorities::nice;
    table[36] = nothing; // sync: memory is all there is
    table[37] = signals::kill;
    table[38] = links::rename;
    table[39] = links::mkdir;
    table[40] = links::rmdir;
    table[41] = files::dup;
    table[42] = files::pipe;
    table[43] = accounting::times;
    table[45] = memory::brk;
    table[47] = nothing; // getgid
    table[49] = nothing; // geteuid
    table[50] = nothing; // getegid
    table[54] = files::ioctl;
    table[55] = files::fcntl;
    table[57] = processes::setpgid;
    table[60] = names::umask;
    table[63] = files::dup2;
    table[64] = processes::getppid;
    table[65] = processes::getpgrp;
    table[66] = processes::setsid;
    table[75] = misc::setrlimit;
    table[77] = accounting::getrusage;
    table[78] = time::gettimeofday;
    table[83] = links::symlink;
    table[85] = names::readlink;
    table[88] = misc::reboot;
    table[90] = memory::mmap;
    table[91] = memory::munmap;
    table[92] = sizes::truncate;
    table[93] = sizes::ftruncate;
    table[94] = attributes::fchmod;
    table[95] = attributes::fchown;
    table[96] = priorities::getpriority;
    table[97] = priorities::setpriority;
    table[99] = stat::statfs;
    table[100] = stat::fstatfs;
    table[104] = time::setitimer;
    table[105] = time::getitimer;
    table[106] = stat::stat;
    table[107] = stat::lstat;
    table[108] = stat::fstat;
    table[114] = processes::wait4;
    table[116] = accounting::sysinfo;
    table[117] = shm::ipc;
    table[118] = files::fsync;
    table[120] = processes::clone;
    table[122] = misc::uname;
    table[125] = memory::mprotect;
    table[132] = processes::getpgid;
    table[133] = names::fchdir;
    table[140] = files::llseek;
    table[142] = select::select;
    table[144] = memory::msync;
    table[145] = files::readv;
    table[146] = files::writev;
    table[147] = processes::getsid;
    table[148] = files::fsync; // fdatasync
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
    table[179] = files::pread64;
    table[180] = files::pwrite64;
    table[181] = attributes::chown;
    table[182] = names::getcwd;
    table[185] = signals::sigaltstack;
    table[189] = processes::vfork;
    table[190] = misc::getrlimit;
    table[202] = files::getdents64;
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
    table[252] = stat::statfs64;
    table[253] = stat::fstatfs64;
    table[280] = select::pselect6;
    table[281] = poll::ppoll;
    table[286] = names::openat;
    table[287] = links::mkdirat;
    table[289] = attributes::fchownat;
    table[291] = stat::newfstatat;
    table[292] = links::unlinkat;
    table[293] = links::renameat;
    table[294] = links::linkat;
    table[295] = links::symlinkat;
    table[296] = names::readlinkat;
    table[297] = attributes::fchmodat;
    table[298] = names::faccessat;
    table[299] = robust_list::get_robust_list;
    table[300] = robust_list::set_robust_list;
    table[302] = scheduling::getcpu;
    table[304] = attributes::utimensat;
    table[307] = sockets::eventfd;
    table[309] = sizes::fallocate;
    table[314] = sockets::eventfd2;
    table[316] = files::dup3;
    table[317] = files::pipe2;
    table[320] = files::preadv;
    table[321] = files::pwritev;
    table[322] = signal_values::rt_tgsigqueueinfo;
    table[325] = misc::prlimit64;
    table[333] = sockets::socketpair;
    table[355] = priorities::sched_setattr;
    table[356] = priorities::sched_getattr;
    table[357] = links::renameat2;
    table[359] = misc::getrandom;
    table[365] = misc::membarrier;
    table[378] = memory::mlock2;
    table[383] = absent; // statx
    table[387] = absent; // rseq
    table[435] = absent; // clone3
    table[439] = names::faccessat2;
    table[449] = absent; // futex_waitv
    table
};
