//! System calls: Linux's numbers and conventions for ppc64.
//!
//! Number in r0, arguments in r3 to r8, result in r3; an error is the positive
//! errno with CR0.SO set. Each row of the table names a call's arguments and the function
//! that takes them, each as its type says ([`Argument`]); a call that changes the frame, or
//! waits with it, takes the frame, too.

use core::sync::atomic::{AtomicU64, Ordering};

use arch::exceptions::TrapFrame;

use crate::errno::Errno;
use crate::mm::user_memory::UserAddr;
use crate::process::clone::{self, Request};
use crate::process::{current, current_thread, session, signal};
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

/// What a function of a call takes of a register, or gives for one.
trait Word {
    /// As Linux takes it: the low half, if the type has no more.
    fn of(register: u64) -> Self;
    fn register(self) -> u64;
}

macro_rules! word {
    ($($kind:ty: $of:expr, $register:expr;)+) => {$(
        impl Word for $kind {
            #[inline(always)]
            fn of(register: u64) -> Self {
                $of(register)
            }

            #[inline(always)]
            fn register(self) -> u64 {
                $register(self)
            }
        }
    )+};
}
word! {
    u64: |word| word, |word| word;
    u32: |word| word as u32, u64::from;
    i32: |word| word as i32, |word| word as u64;
    usize: |word| word as usize, |word| word as u64;
    UserAddr: UserAddr, |address: UserAddr| address.0;
    (): |_| (), |()| 0;
}

/// What a function of a call gives: a word, or a word or an error.
trait Answer {
    fn result(self) -> Result;
}

impl<T: Word> Answer for T {
    #[inline(always)]
    fn result(self) -> Result {
        Ok(self.register())
    }
}

impl<T: Word> Answer for Result<T> {
    #[inline(always)]
    fn result(self) -> Result {
        self.map(T::register)
    }
}

/// A row of the table: a function and the call's arguments, or the arguments and what is done
/// with them.
macro_rules! call {
    ($module:ident::$name:ident(frame; $($argument:ident),*)) => {
        call!(|frame; $($argument),*| $module::$name(frame, $($argument),*))
    };
    ($module:ident::$name:ident($($argument:ident),*)) => {
        call!(|_frame; $($argument),*| $module::$name($($argument),*))
    };
    (|| $call:expr) => {
        call!(|_frame;| $call)
    };
    (|$($argument:ident),+| $call:expr) => {
        call!(|_frame; $($argument),+| $call)
    };
    (|$frame:ident; $($argument:ident),*| $call:expr) => {
        |$frame: &mut TrapFrame| -> Result {
            let [$($argument,)* ..] = $frame.syscall_args();
            $(let $argument = Word::of($argument);)*
            $call.result()
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
    table[1] = call!(processes::exit(code));
    table[2] = call!(|frame;| clone::clone(frame, &Request::fork()));
    table[3] = files::read;
    table[4] = files::write;
    table[5] = names::open;
    table[6] = files::close;
    table[8] = names::creat;
    table[9] = links::link;
    table[10] = links::unlink;
    table[11] = call!(processes::execve(frame; path, arguments, environment));
    table[12] = names::chdir;
    table[13] = call!(time::time(to));
    table[15] = attributes::chmod;
    table[16] = attributes::lchown;
    table[19] = files::lseek;
    table[20] = call!(|| current().pid); // getpid
    table[24] = nothing; // getuid
    table[27] = call!(time::alarm(seconds));
    table[29] = call!(signals::pause(frame;));
    table[33] = names::access;
    table[34] = call!(priorities::nice(step));
    table[36] = nothing; // sync: memory is all there is
    table[37] = call!(signals::kill(pid, number));
    table[38] = links::rename;
    table[39] = links::mkdir;
    table[40] = links::rmdir;
    table[41] = files::dup;
    table[42] = files::pipe;
    table[43] = call!(accounting::times(to));
    table[45] = call!(memory::brk(end));
    table[47] = nothing; // getgid
    table[49] = nothing; // geteuid
    table[50] = nothing; // getegid
    table[54] = files::ioctl;
    table[55] = files::fcntl;
    table[57] = call!(processes::setpgid(pid, group));
    table[60] = names::umask;
    table[63] = files::dup2;
    table[64] = call!(|| current().parent()); // getppid
    table[65] = call!(|| processes::getpgid(0)); // getpgrp
    table[66] = call!(session::new_session());
    table[75] = call!(misc::setrlimit(resource, from));
    table[77] = call!(accounting::getrusage(which, to));
    table[78] = call!(time::gettimeofday(to, zone));
    table[83] = links::symlink;
    table[85] = names::readlink;
    table[88] = call!(misc::reboot(magic, magic2, command));
    table[90] = call!(memory::mmap(hint, len, prot, flags, fd, offset));
    table[91] = call!(memory::munmap(start, len));
    table[92] = sizes::truncate;
    table[93] = sizes::ftruncate;
    table[94] = attributes::fchmod;
    table[95] = attributes::fchown;
    table[96] = call!(priorities::getpriority(which, who));
    table[97] = call!(priorities::setpriority(which, who, nice));
    table[99] = stat::statfs;
    table[100] = stat::fstatfs;
    table[104] = call!(time::setitimer(which, new, old));
    table[105] = call!(time::getitimer(which, to));
    table[106] = stat::stat;
    table[107] = stat::lstat;
    table[108] = stat::fstat;
    table[114] = call!(processes::wait4(pid, status, options, usage));
    table[116] = call!(accounting::sysinfo(to));
    table[117] = shm::ipc;
    table[118] = files::fsync;
    table[120] = call!(processes::clone(frame; flags, stack, parent_tid, tls, child_tid));
    table[122] = call!(misc::uname(to));
    table[125] = call!(memory::mprotect(start, len, prot));
    table[132] = call!(processes::getpgid(pid));
    table[133] = names::fchdir;
    table[140] = files::llseek;
    table[142] = select::select;
    table[144] = call!(memory::msync(start, len, flags));
    table[145] = files::readv;
    table[146] = files::writev;
    table[147] = call!(processes::getsid(pid));
    table[148] = files::fsync; // fdatasync
    table[150] = call!(|start, len| memory::mlock2(start, len, 0));
    table[151] = call!(memory::munlock(start, len));
    table[152] = call!(memory::mlockall(flags));
    table[153] = nothing; // munlockall
    table[154] = call!(|tid, from| priorities::sched_setscheduler(tid, None, from)); // sched_setparam
    table[155] = call!(priorities::sched_getparam(tid, to));
    table[156] = call!(|tid, policy, from| priorities::sched_setscheduler(tid, Some(policy), from));
    table[157] = call!(priorities::sched_getscheduler(tid));
    table[158] = call!(task::yield_now());
    table[159] = call!(|policy| priorities::bound(policy, 99)); // sched_get_priority_max
    table[160] = call!(|policy| priorities::bound(policy, 1)); // sched_get_priority_min
    table[161] = call!(priorities::sched_rr_get_interval(tid, to));
    table[162] = call!(time::nanosleep(frame; span, rest));
    table[163] = call!(memory::mremap(start, old_len, new_len, flags, target));
    table[167] = poll::poll;
    table[171] = call!(prctl::prctl(option, argument));
    table[172] = call!(signals::rt_sigreturn(frame;));
    table[173] = call!(signals::rt_sigaction(number, new, old, bytes));
    table[174] = call!(signals::rt_sigprocmask(how, new, old, bytes));
    table[175] = call!(signals::rt_sigpending(to, bytes));
    table[176] = call!(signal_values::rt_sigtimedwait(frame; signals, to, timeout, bytes));
    table[177] = call!(signal_values::rt_sigqueueinfo(pid, number, from));
    table[178] = call!(signals::rt_sigsuspend(frame; mask, bytes));
    table[179] = files::pread64;
    table[180] = files::pwrite64;
    table[181] = attributes::chown;
    table[182] = names::getcwd;
    table[185] = call!(|frame; new, old| signals::sigaltstack(frame.gpr(1), new, old));
    table[189] = call!(|frame;| clone::clone(frame, &Request::vfork()));
    table[190] = call!(misc::getrlimit(resource, to));
    table[202] = files::getdents64;
    table[205] = call!(memory::madvise(start, len, advice));
    table[206] = call!(memory::mincore(start, len, answer));
    table[207] = call!(|| current_thread().tid()); // gettid
    table[208] = call!(|tid, number| signals::tgkill(None, tid, number)); // tkill
    table[221] = call!(futex::futex(frame; address, operation, value, timeout, other, bits));
    table[222] = call!(scheduling::sched_setaffinity(tid, len, from));
    table[223] = call!(scheduling::sched_getaffinity(tid, len, to));
    table[232] = call!(processes::set_tid_address(address));
    table[234] = call!(processes::exit_group(code));
    table[246] = call!(time::clock_gettime(clock, to));
    table[247] = call!(time::clock_getres(clock, to));
    table[248] = call!(time::clock_nanosleep(frame; clock, flags, span, rest));
    table[250] = call!(|pid, tid, number| signals::tgkill(Some(pid), tid, number));
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
    table[299] = call!(robust_list::get_robust_list(tid, head, bytes));
    table[300] = call!(robust_list::set_robust_list(head, bytes));
    table[302] = call!(scheduling::getcpu(cpu, node));
    table[304] = attributes::utimensat;
    table[307] = sockets::eventfd;
    table[309] = sizes::fallocate;
    table[314] = sockets::eventfd2;
    table[316] = files::dup3;
    table[317] = files::pipe2;
    table[320] = files::preadv;
    table[321] = files::pwritev;
    table[322] = call!(signal_values::rt_tgsigqueueinfo(pid, tid, number, from));
    table[325] = call!(misc::prlimit64(tid, resource, new, old));
    table[333] = sockets::socketpair;
    table[355] = call!(priorities::sched_setattr(tid, from, flags));
    table[356] = call!(priorities::sched_getattr(tid, to, size, flags));
    table[357] = links::renameat2;
    table[359] = call!(misc::getrandom(to, len, flags));
    table[365] = call!(misc::membarrier(command, flags));
    table[378] = call!(memory::mlock2(start, len, flags));
    table[383] = absent; // statx
    table[387] = absent; // rseq
    table[435] = absent; // clone3
    table[439] = names::faccessat2;
    table[449] = absent; // futex_waitv
    table
};
