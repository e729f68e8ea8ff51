//! System calls: Linux's numbers and conventions for ppc64.
//!
//! Number in r0, arguments in r3 to r8, result in r3; an error is the positive errno with CR0.SO
//! set. Each row of the table names a call's arguments and the function that takes them, each by
//! its type ([`Word`]). A call that changes the frame, or waits with it, also takes the frame.
//! The entry code calls the rows.

use core::sync::atomic::{AtomicU64, Ordering};

use arch::exceptions::{self, NR_SYSTEM_CALLS, Outcome, SystemCall, SystemCalls, TrapFrame};

use self::names::{AT_SYMLINK_NOFOLLOW, HERE};
use self::stat::STATFS_BYTES;
use crate::errno::Errno;
use crate::mm::user_memory::UserAddr;
use crate::process::clone::{self, Request};
use crate::process::{current, current_thread, session, signal};
use crate::task;

mod accounting;
mod attributes;
mod files;
pub(crate) mod futex;
pub(crate) mod futex_waiters;
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
pub(crate) mod traced;
mod watch;

/// The result of a call.
pub(crate) type Result<T = u64> = core::result::Result<T, Errno>;

/// Inside the kernel only: the call has changed the frame itself (exec, sigreturn).
pub(crate) const FRAME_REPLACED: Errno = Errno(600);

/// Inside the kernel only: the call starts over with a whole frame, or it ends with that.
pub(crate) const NEEDS_WHOLE_FRAME: Errno = Errno(exceptions::NEEDS_WHOLE_FRAME as i32);

/// The end of a call that has a whole frame. Interrupts and preemption on.
pub(crate) fn end(frame: &mut TrapFrame, outcome: Outcome) {
    match Errno(outcome.errno as i32) {
        Errno(0) => frame.set_result(outcome.value.cast_signed()),
        signal::ERESTARTSYS => signal::restart_or_interrupt(frame),
        signal::ERESTARTNOINTR => signal::restart(frame),
        FRAME_REPLACED => {}
        errno => frame.set_result(-i64::from(errno.0)),
    }
}

/// What a function says, in the registers of the hardware's half.
#[inline(always)]
fn outcome(result: Result) -> Outcome {
    match result {
        Ok(value) => Outcome { value, errno: 0 },
        Err(errno) => Outcome { value: 0, errno: errno.0 as u64 },
    }
}

/// The type of an argument or a result, which stands for a register.
trait Word {
    /// From the register as Linux does it: the low half, for a type of 32 bits.
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

/// The return type of a call's function: a word, or a word or an error.
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

/// A row of the table: a function and the call's arguments, or the arguments and an expression of
/// them. With `frame` the call gets the frame, whole; with `part frame`, as far as it is saved.
macro_rules! call {
    ($module:ident::$name:ident(part frame; $($argument:ident),*)) => {
        call!(@part |frame; $($argument),*| $module::$name(frame, $($argument),*))
    };
    ($module:ident::$name:ident(frame; $($argument:ident),*)) => {
        call!(|frame; $($argument),*| $module::$name(frame, $($argument),*))
    };
    ($module:ident::$name:ident($($argument:ident),*)) => {
        call!(@part |_frame; $($argument),*| $module::$name($($argument),*))
    };
    (|| $call:expr) => {
        call!(@part |_frame;| $call)
    };
    (|$($argument:ident),+| $call:expr) => {
        call!(@part |_frame; $($argument),+| $call)
    };
    (|$frame:ident; $($argument:ident),*| $call:expr) => {
        call!(@part |$frame; $($argument),*| {
            if $frame.is_whole() { $call.result() } else { Err(NEEDS_WHOLE_FRAME) }
        })
    };
    (@part |$frame:ident; $($argument:ident),*| $call:expr) => {{
        extern "C" fn row(a: u64, b: u64, c: u64, d: u64, e: u64, f: u64, $frame: &mut TrapFrame) -> Outcome {
            let [$($argument,)* ..] = [a, b, c, d, e, f];
            $(let $argument = Word::of($argument);)*
            outcome($call.result())
        }
        row as SystemCall
    }};
}

/// A call that does not exist here: reported once for each number.
fn unknown(frame: &TrapFrame) -> Result {
    static SAID: [AtomicU64; NR_SYSTEM_CALLS.div_ceil(64)] =
        [const { AtomicU64::new(0) }; NR_SYSTEM_CALLS.div_ceil(64)];
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

/// The row of all calls that do not exist.
const UNKNOWN: SystemCall = call!(@part |frame;| unknown(frame));

/// The row of a call that programs try and that is left out on purpose.
const ABSENT: SystemCall = call!(|| self::Result::<()>::Err(Errno::ENOSYS));

/// The row of a call without effect here.
const NOTHING: SystemCall = call!(|| ());

/// The numbers of the calls that look at their arguments, for the test that gives each of
/// them bad ones.
#[cfg(feature = "selftest")]
pub(crate) fn numbers() -> impl Iterator<Item = usize> {
    let without_arguments = [UNKNOWN, ABSENT, NOTHING];
    let looks =
        move |row: &SystemCall| !without_arguments.iter().any(|other| core::ptr::fn_addr_eq(*other, *row));
    TABLE.iter().enumerate().filter(move |(_, row)| looks(row)).map(|(number, _)| number)
}

/// The calls by number (arch/powerpc/kernel/syscalls/syscall.tbl, "64").
pub(crate) static TABLE: SystemCalls = {
    let mut table: SystemCalls = [UNKNOWN; NR_SYSTEM_CALLS + 1];
    table[1] = call!(processes::exit(code));
    table[2] = call!(|frame;| clone::clone(frame, &Request::fork()));
    table[3] = call!(|fd, to, len| files::read(fd, to, len, None));
    table[4] = call!(|fd, from, len| files::write(fd, from, len, None));
    table[5] = call!(|path, flags, mode| names::openat(HERE, path, flags, mode));
    table[6] = call!(files::close(fd));
    table[8] = call!(names::creat(path, mode));
    table[9] = call!(|from, path| links::linkat(HERE, from, HERE, path, 0));
    table[10] = call!(|path| links::unlink(HERE, path));
    table[11] = call!(processes::execve(frame; path, arguments, environment));
    table[12] = call!(names::chdir(path));
    table[13] = call!(time::time(to));
    table[15] = call!(|path, mode| attributes::fchmodat(HERE, path, mode));
    table[16] = call!(|path, uid, gid| attributes::fchownat(HERE, path, uid, gid, AT_SYMLINK_NOFOLLOW));
    table[19] = call!(files::lseek(fd, offset, whence));
    table[20] = call!(|| current().pid); // getpid
    table[24] = NOTHING; // getuid
    table[27] = call!(time::alarm(seconds));
    table[29] = call!(signals::pause(frame;));
    table[33] = call!(|path, wanted| names::faccessat2(HERE, path, wanted, 0));
    table[34] = call!(priorities::nice(step));
    table[36] = NOTHING; // sync: memory is all there is
    table[37] = call!(signals::kill(pid, number));
    table[38] = call!(|from, path| links::renameat2(HERE, from, HERE, path, 0));
    table[39] = call!(|path, mode| links::mkdirat(HERE, path, mode));
    table[40] = call!(|path| links::rmdir(HERE, path));
    table[41] = call!(files::dup(fd));
    table[42] = call!(|fds| files::pipe2(fds, 0));
    table[43] = call!(accounting::times(to));
    table[45] = call!(memory::brk(end));
    table[47] = NOTHING; // getgid
    table[49] = NOTHING; // geteuid
    table[50] = NOTHING; // getegid
    table[54] = call!(files::ioctl(fd, request, argument));
    table[55] = call!(files::fcntl(fd, command, argument));
    table[57] = call!(processes::setpgid(pid, group));
    table[60] = call!(names::umask(mask));
    table[63] = call!(files::dup2(old, new));
    table[64] = call!(|| current().parent()); // getppid
    table[65] = call!(|| processes::getpgid(0)); // getpgrp
    table[66] = call!(session::new_session());
    table[75] = call!(misc::setrlimit(resource, from));
    table[77] = call!(accounting::getrusage(which, to));
    table[78] = call!(time::gettimeofday(to, zone));
    table[83] = call!(|target, path| links::symlinkat(target, HERE, path));
    table[85] = call!(|path, to, len| names::readlinkat(HERE, path, to, len));
    table[88] = call!(misc::reboot(magic, magic2, command));
    table[90] = call!(memory::mmap(hint, len, prot, flags, fd, offset));
    table[91] = call!(memory::munmap(start, len));
    table[92] = call!(sizes::truncate(path, len));
    table[93] = call!(sizes::ftruncate(fd, len));
    table[94] = call!(attributes::fchmod(fd, mode));
    table[95] = call!(attributes::fchown(fd, uid, gid));
    table[96] = call!(priorities::getpriority(which, who));
    table[97] = call!(priorities::setpriority(which, who, nice));
    table[99] = call!(|path, to| stat::statfs(path, STATFS_BYTES, to));
    table[100] = call!(|fd, to| stat::fstatfs(fd, STATFS_BYTES, to));
    table[104] = call!(time::setitimer(which, new, old));
    table[105] = call!(time::getitimer(which, to));
    table[106] = call!(|path, to| stat::newfstatat(HERE, path, to, 0));
    table[107] = call!(|path, to| stat::newfstatat(HERE, path, to, AT_SYMLINK_NOFOLLOW));
    table[108] = call!(stat::fstat(fd, to));
    table[114] = call!(processes::wait4(pid, status, options, usage));
    table[116] = call!(accounting::sysinfo(to));
    table[117] = call!(shm::ipc(call, first, second, third, pointer));
    table[118] = call!(files::fsync(fd));
    table[120] = call!(processes::clone(frame; flags, stack, parent_tid, tls, child_tid));
    table[122] = call!(misc::uname(to));
    table[125] = call!(memory::mprotect(start, len, prot));
    table[132] = call!(processes::getpgid(pid));
    table[133] = call!(names::fchdir(fd));
    table[140] = call!(files::llseek(fd, high, low, to, whence));
    table[142] = call!(|frame; count, read, write, except, timeout| {
        select::select(frame, count, [read, write, except], timeout)
    });
    table[144] = call!(memory::msync(start, len, flags));
    table[145] = call!(|fd, pieces, count| files::readv(fd, pieces, count, None));
    table[146] = call!(|fd, pieces, count| files::writev(fd, pieces, count, None));
    table[147] = call!(processes::getsid(pid));
    table[148] = call!(files::fsync(fd)); // fdatasync
    table[150] = call!(|start, len| memory::mlock2(start, len, 0));
    table[151] = call!(memory::munlock(start, len));
    table[152] = call!(memory::mlockall(flags));
    table[153] = NOTHING; // munlockall
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
    table[167] = call!(poll::poll(frame; fds, count, timeout_ms));
    table[171] = call!(prctl::prctl(option, argument));
    table[172] = call!(signals::rt_sigreturn(frame;));
    table[173] = call!(signals::rt_sigaction(number, new, old, bytes));
    table[174] = call!(signals::rt_sigprocmask(how, new, old, bytes));
    table[175] = call!(signals::rt_sigpending(to, bytes));
    table[176] = call!(signal_values::rt_sigtimedwait(frame; signals, to, timeout, bytes));
    table[177] = call!(signal_values::rt_sigqueueinfo(pid, number, from));
    table[178] = call!(signals::rt_sigsuspend(frame; mask, bytes));
    table[179] = call!(|fd, to, len, at| files::read(fd, to, len, Some(at)));
    table[180] = call!(|fd, from, len, at| files::write(fd, from, len, Some(at)));
    table[181] = call!(|path, uid, gid| attributes::fchownat(HERE, path, uid, gid, 0));
    table[182] = call!(names::getcwd(to, len));
    table[185] = call!(|frame; new, old| signals::sigaltstack(frame.gpr(1), new, old));
    table[189] = call!(|frame;| clone::clone(frame, &Request::vfork()));
    table[190] = call!(misc::getrlimit(resource, to));
    table[202] = call!(files::getdents64(fd, to, len));
    table[205] = call!(memory::madvise(start, len, advice));
    table[206] = call!(memory::mincore(start, len, answer));
    table[207] = call!(|| current_thread().tid()); // gettid
    table[208] = call!(|tid, number| signals::tgkill(None, tid, number)); // tkill
    table[221] = call!(futex::futex(part frame; address, operation, value, timeout, other, bits));
    table[222] = call!(scheduling::sched_setaffinity(tid, len, from));
    table[223] = call!(scheduling::sched_getaffinity(tid, len, to));
    table[232] = call!(processes::set_tid_address(address));
    table[234] = call!(processes::exit_group(code));
    table[246] = call!(time::clock_gettime(clock, to));
    table[247] = call!(time::clock_getres(clock, to));
    table[248] = call!(time::clock_nanosleep(frame; clock, flags, span, rest));
    table[250] = call!(|pid, tid, number| signals::tgkill(Some(pid), tid, number));
    table[252] = call!(stat::statfs(path, size, to));
    table[253] = call!(stat::fstatfs(fd, size, to));
    table[280] = call!(|frame; count, read, write, except, timeout, mask| {
        select::pselect6(frame, count, [read, write, except], timeout, mask)
    });
    table[281] = call!(poll::ppoll(frame; fds, count, timeout, mask, mask_bytes));
    table[286] = call!(names::openat(fd, path, flags, mode));
    table[287] = call!(links::mkdirat(fd, path, mode));
    table[289] = call!(attributes::fchownat(fd, path, uid, gid, flags));
    table[291] = call!(stat::newfstatat(fd, path, to, flags));
    table[292] = call!(links::unlinkat(fd, path, flags));
    table[293] = call!(|from_fd, from, fd, path| links::renameat2(from_fd, from, fd, path, 0));
    table[294] = call!(links::linkat(from_fd, from, fd, path, flags));
    table[295] = call!(links::symlinkat(target, fd, path));
    table[296] = call!(names::readlinkat(fd, path, to, len));
    table[297] = call!(attributes::fchmodat(fd, path, mode));
    table[298] = call!(|fd, path, wanted| names::faccessat2(fd, path, wanted, 0));
    table[299] = call!(robust_list::get_robust_list(tid, head, bytes));
    table[300] = call!(robust_list::set_robust_list(head, bytes));
    table[302] = call!(scheduling::getcpu(cpu, node));
    table[304] = call!(attributes::utimensat(fd, path, times, flags));
    table[307] = call!(|start| sockets::eventfd2(start, 0));
    table[309] = call!(sizes::fallocate(fd, mode, start, len));
    table[314] = call!(sockets::eventfd2(start, flags));
    table[316] = call!(files::dup3(old, new, flags));
    table[317] = call!(files::pipe2(fds, flags));
    table[320] = call!(|fd, pieces, count, at| files::readv(fd, pieces, count, Some(at)));
    table[321] = call!(|fd, pieces, count, at| files::writev(fd, pieces, count, Some(at)));
    table[322] = call!(signal_values::rt_tgsigqueueinfo(pid, tid, number, from));
    table[325] = call!(misc::prlimit64(tid, resource, new, old));
    table[333] = call!(sockets::socketpair(family, kind, protocol, fds));
    table[355] = call!(priorities::sched_setattr(tid, from, flags));
    table[356] = call!(priorities::sched_getattr(tid, to, size, flags));
    table[357] = call!(links::renameat2(from_fd, from, fd, path, flags));
    table[359] = call!(misc::getrandom(to, len, flags));
    table[365] = call!(misc::membarrier(command, flags));
    table[378] = call!(memory::mlock2(start, len, flags));
    table[383] = ABSENT; // statx
    table[387] = ABSENT; // rseq
    table[435] = ABSENT; // clone3
    table[439] = call!(names::faccessat2(fd, path, wanted, flags));
    table[449] = ABSENT; // futex_waitv
    table
};
