//! `senders [KIND]`: kill and its relatives, the `siginfo` of their signals, and
//! taking a signal without a handler. Each kind in a child.
#![no_std]
#![no_main]

extern crate alloc;

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use core::time::Duration;

use user::kinds::{self, Kind, answers, call, ends_with, eventually};
use user::process::{self, Pid, Status};
use user::{Context, Env, Errno, Verdict, ensure, thread, time};

user::main!(main);

const KILL: usize = 37;
const RT_SIGPROCMASK: usize = 174;
const RT_SIGPENDING: usize = 175;
const RT_SIGTIMEDWAIT: usize = 176;
const RT_SIGQUEUEINFO: usize = 177;
const TKILL: usize = 208;
const TGKILL: usize = 250;
const RT_TGSIGQUEUEINFO: usize = 322;

const SIGUSR1: usize = 10;
const SIGUSR2: usize = 12;
const SIGCHLD: usize = 17;
/// The first signal that queues.
const SIGRTMIN: usize = 34;
/// No process has this number.
const NOBODY: usize = 4_000_000;

const SI_USER: i32 = 0;
const SI_QUEUE: i32 = -1;
const SI_TKILL: i32 = -6;

const KINDS: [Kind; 10] = [
    ("kill", kill_answers),
    ("tkill", tkill_answers),
    ("of-a-dead-child", of_a_dead_child),
    ("by-a-thread's-number", by_a_threads_number),
    ("full-queue", full_queue),
    ("said-of-a-sender", said_of_a_sender),
    ("said-of-a-child", said_of_a_child),
    ("values", values),
    ("taken", taken),
    ("taken-in-time", taken_in_time),
];

fn main(env: &Env) -> Verdict {
    kinds::run(env, &KINDS)
}

fn me() -> usize {
    process::getpid().0 as usize
}

fn bits(signals: &[usize]) -> u64 {
    signals.iter().fold(0, |mask, signal| mask | 1 << (signal - 1))
}

fn block(signals: &[usize]) -> Verdict {
    const SIG_SETMASK: usize = 2;
    let mask = bits(signals);
    call(RT_SIGPROCMASK, [SIG_SETMASK, &raw const mask as usize, 0, 8, 0, 0]).context("block").map(drop)
}

fn pending() -> u64 {
    let mut mask = 0_u64;
    let answer = call(RT_SIGPENDING, [&raw mut mask as usize, 8, 0, 0, 0, 0]);
    if answer == Ok(0) { mask } else { !0 }
}

/// Linux's `siginfo_t`: signal, errno, code, then pid, uid, and value or status.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
struct Info {
    signal: u32,
    errno: i32,
    code: i32,
    pad: u32,
    pid: u32,
    uid: u32,
    value: u64,
    rest: [u64; 12],
}

const NOTHING: Info = Info { signal: 0, errno: 0, code: 0, pad: 0, pid: 0, uid: 0, value: 0, rest: [0; 12] };

/// Takes one of `signals`, waiting for `limit` at most.
fn take(signals: &[usize], limit: Option<Duration>) -> Result<Info, Errno> {
    let mask = bits(signals);
    let span = limit.map(|limit| [limit.as_secs(), u64::from(limit.subsec_nanos())]);
    let span = span.as_ref().map_or(0, |span| span.as_ptr() as usize);
    let mut info = NOTHING;
    let args = [&raw const mask as usize, &raw mut info as usize, span, 8, 0, 0];
    let signal = call(RT_SIGTIMEDWAIT, args)?;
    if signal == info.signal as usize { Ok(info) } else { Err(Errno(999)) }
}

const AT_ONCE: Option<Duration> = Some(Duration::ZERO);

fn kill_answers() -> Verdict {
    let least = i32::MIN as isize as usize;
    answers(
        KILL,
        &[
            ("nothing to itself", [me(), 0, 0, 0, 0, 0], Ok(0)),
            ("signal 65", [me(), 65, 0, 0, 0, 0], Err(Errno::EINVAL)),
            ("signal -1", [me(), usize::MAX, 0, 0, 0, 0], Err(Errno::EINVAL)),
            ("signal 65 to nobody", [NOBODY, 65, 0, 0, 0, 0], Err(Errno::ESRCH)),
            ("nobody", [NOBODY, 0, 0, 0, 0, 0], Err(Errno::ESRCH)),
            ("a group that is none", [0_usize.wrapping_sub(NOBODY), SIGUSR1, 0, 0, 0, 0], Err(Errno::ESRCH)),
            ("the least number", [least, SIGUSR1, 0, 0, 0, 0], Err(Errno::ESRCH)),
            ("signal 65 to its group", [0, 65, 0, 0, 0, 0], Err(Errno::EINVAL)),
        ],
    )
}

fn tkill_answers() -> Verdict {
    let invalid = Err(Errno::EINVAL);
    let tid = thread::gettid() as usize;
    answers(
        TKILL,
        &[
            ("nothing to itself", [tid, 0, 0, 0, 0, 0], Ok(0)),
            ("0", [0, SIGUSR1, 0, 0, 0, 0], invalid),
            ("-1", [usize::MAX, SIGUSR1, 0, 0, 0, 0], invalid),
            ("nobody", [NOBODY, SIGUSR1, 0, 0, 0, 0], Err(Errno::ESRCH)),
            ("signal 65", [tid, 65, 0, 0, 0, 0], invalid),
        ],
    )?;
    answers(
        TGKILL,
        &[
            ("nothing to itself", [me(), tid, 0, 0, 0, 0], Ok(0)),
            ("of process 0", [0, tid, SIGUSR1, 0, 0, 0], invalid),
            ("of process -1", [usize::MAX, tid, SIGUSR1, 0, 0, 0], invalid),
            ("thread 0", [me(), 0, SIGUSR1, 0, 0, 0], invalid),
            ("thread -1", [me(), usize::MAX, SIGUSR1, 0, 0, 0], invalid),
            ("of init", [1, tid, SIGUSR1, 0, 0, 0], Err(Errno::ESRCH)),
            ("nobody", [me(), NOBODY, 0, 0, 0, 0], Err(Errno::ESRCH)),
            ("signal 65", [me(), tid, 65, 0, 0, 0], invalid),
        ],
    )
}

/// A dead child accepts any signal until it is waited for.
fn of_a_dead_child() -> Verdict {
    block(&[SIGCHLD])?;
    let child = process::spawn(|| 4).context("fork")?;
    take(&[SIGCHLD], None).context("SIGCHLD")?;
    process::kill(child, 0).context("nothing")?;
    process::kill(child, 9).context("SIGKILL")?;
    let number = child.0 as usize;
    call(TGKILL, [number, number, SIGUSR1, 0, 0, 0]).context("tgkill")?;
    ends_with("the child", Status::exit(4), Ok(child))?;
    let gone = process::kill(child, 0);
    ensure!(gone == Err(Errno::ESRCH), "after the wait: {gone:?}");
    Ok(())
}

/// kill to a thread's number signals its process; tkill signals the thread.
fn by_a_threads_number() -> Verdict {
    static TID: AtomicU32 = AtomicU32::new(0);
    static GO: AtomicU32 = AtomicU32::new(0);
    block(&[SIGUSR1, SIGUSR2])?;
    let other = thread::spawn(|| {
        TID.store(thread::gettid() as u32, Ordering::Release);
        let _ = eventually("go", || GO.load(Ordering::Acquire) == 1);
        pending()
    });
    let other = other.context("clone")?;
    eventually("a thread", || TID.load(Ordering::Acquire) != 0)?;
    let tid = TID.load(Ordering::Relaxed) as usize;
    process::kill(Pid(tid as i32), SIGUSR1 as i32).context("kill")?;
    call(TGKILL, [me(), tid, SIGUSR2, 0, 0, 0]).context("tgkill")?;
    ensure!(pending() == bits(&[SIGUSR1]), "here wait {:#x}", pending());
    GO.store(1, Ordering::Release);
    let there = other.join();
    ensure!(there == Some(bits(&[SIGUSR1, SIGUSR2])), "there wait {there:x?}");
    // A thread signals its end before it is gone.
    eventually("ESRCH", || call(TKILL, [tid, 0, 0, 0, 0, 0]) == Err(Errno::ESRCH))?;
    // The thread's pending signals are gone with it.
    ensure!(pending() == bits(&[SIGUSR1]), "afterwards wait {:#x}", pending());
    Ok(())
}

/// A signal that queues gives an error when there is no room. The others are only marked.
fn full_queue() -> Verdict {
    const MANY: u32 = 20_000;
    block(&[SIGUSR1, SIGRTMIN])?;
    let tid = thread::gettid() as usize;
    let mut sent = 0;
    let full = loop {
        match call(TKILL, [tid, SIGRTMIN, 0, 0, 0, 0]) {
            Ok(_) if sent < MANY => sent += 1,
            answer => break answer,
        }
    };
    ensure!(full == Err(Errno::EAGAIN) && sent > 100, "after {sent}: {full:?}");
    ensure!(call(TKILL, [tid, SIGUSR1, 0, 0, 0, 0]) == Ok(0), "no room for another");
    let mut got = 0;
    while take(&[SIGRTMIN], AT_ONCE).is_ok() {
        got += 1;
    }
    ensure!(got == sent, "{got} of {sent} arrived");
    Ok(())
}

fn said_of_a_sender() -> Verdict {
    block(&[SIGUSR1, SIGUSR2])?;
    let sender = process::spawn(move || {
        let parent = call(64, [0; 6]).unwrap_or(0);
        let sent = [call(KILL, [parent, SIGUSR1, 0, 0, 0, 0]), call(TKILL, [parent, SIGUSR2, 0, 0, 0, 0])];
        i32::from(sent != [Ok(0); 2])
    });
    let sender = sender.context("fork")?;
    for (signal, code) in [(SIGUSR1, SI_USER), (SIGUSR2, SI_TKILL)] {
        let info = take(&[signal], None).context("sigtimedwait")?;
        let expected = Info { signal: signal as u32, code, pid: sender.0 as u32, ..NOTHING };
        ensure!(info == expected, "{info:?}");
    }
    ends_with("the sender", Status::exit(0), Ok(sender))
}

fn said_of_a_child() -> Verdict {
    const CLD_EXITED: i32 = 1;
    const CLD_KILLED: i32 = 2;
    block(&[SIGCHLD])?;
    for (code, status, child) in [(CLD_EXITED, 77, None), (CLD_KILLED, 9, Some(9))] {
        let child = process::spawn(|| {
            if let Some(signal) = child {
                let _ = process::kill(process::getpid(), signal);
            }
            77
        });
        let child = child.context("fork")?;
        let info = take(&[SIGCHLD], None).context("sigtimedwait")?;
        let value = info.value >> 32;
        ensure!(info.code == code && info.pid == child.0 as u32 && value == status, "{info:?}");
        process::wait(child).context("wait4")?;
    }
    Ok(())
}

fn queue(pid: usize, signal: usize, info: &Info) -> Result<usize, Errno> {
    call(RT_SIGQUEUEINFO, [pid, signal, &raw const *info as usize, 0, 0, 0])
}

/// Values arrive in order, each with its signal; and only with codes that a program
/// may use.
fn values() -> Verdict {
    block(&[SIGUSR1, SIGRTMIN])?;
    let with = |value| Info { code: SI_QUEUE, pid: 5, uid: 6, value, ..NOTHING };
    for value in [0x1234_5678_9abc_def0, 2, 3] {
        queue(me(), SIGRTMIN, &with(value)).context("rt_sigqueueinfo")?;
    }
    let tid = thread::gettid() as usize;
    let info = with(4);
    call(RT_TGSIGQUEUEINFO, [me(), tid, SIGRTMIN, &raw const info as usize, 0, 0]).context("to a thread")?;
    // The thread's own come first.
    for value in [4, 0x1234_5678_9abc_def0, 2, 3] {
        let info = take(&[SIGRTMIN], AT_ONCE).context("sigtimedwait")?;
        ensure!(info == Info { signal: SIGRTMIN as u32, ..with(value) }, "{info:?}, not {value:#x}");
    }
    let as_kernel = Info { code: 0x80, ..with(0) };
    let as_tkill = Info { code: SI_TKILL, ..with(0) };
    let parent = call(64, [0; 6]).context("getppid")?;
    for info in [as_kernel, as_tkill, NOTHING] {
        ensure!(queue(parent, SIGUSR1, &info) == Err(Errno::EPERM), "to another: {}", info.code);
        ensure!(queue(me(), SIGUSR1, &info) == Ok(0), "to itself: {}", info.code);
    }
    ensure!(queue(parent, 0, &with(0)) == Ok(0), "nothing to the parent");
    ensure!(queue(NOBODY, SIGUSR1, &with(0)) == Err(Errno::ESRCH), "nobody");
    ensure!(queue(me(), 65, &with(0)) == Err(Errno::EINVAL), "signal 65");
    ensure!(call(RT_SIGQUEUEINFO, [me(), SIGUSR1, 8, 0, 0, 0]) == Err(Errno::EFAULT), "a bad address");
    let good = &raw const info as usize;
    answers(
        RT_TGSIGQUEUEINFO,
        &[
            ("process 0", [0, tid, SIGUSR1, good, 0, 0], Err(Errno::EINVAL)),
            ("thread 0", [me(), 0, SIGUSR1, good, 0, 0], Err(Errno::EINVAL)),
            ("of init", [1, tid, SIGUSR1, good, 0, 0], Err(Errno::ESRCH)),
        ],
    )
}

/// A pending signal is taken at once, the lowest first. Another one is waited for.
fn taken() -> Verdict {
    block(&[SIGUSR1, SIGUSR2, SIGRTMIN])?;
    ensure!(take(&[SIGUSR1], AT_ONCE) == Err(Errno::EAGAIN), "nothing was taken");
    for signal in [SIGRTMIN, SIGUSR2, SIGUSR1, SIGUSR1] {
        call(KILL, [me(), signal, 0, 0, 0, 0]).context("kill")?;
    }
    for signal in [SIGUSR1, SIGUSR2] {
        let got = take(&[SIGUSR2, SIGUSR1], AT_ONCE).map(|info| info.signal);
        ensure!(got == Ok(signal as u32), "{got:?}, not {signal}");
    }
    ensure!(take(&[SIGUSR1, SIGUSR2], AT_ONCE) == Err(Errno::EAGAIN), "taken twice");
    ensure!(pending() == bits(&[SIGRTMIN]), "{:#x} wait", pending());
    let mask = bits(&[SIGRTMIN]);
    answers(
        RT_SIGTIMEDWAIT,
        &[
            ("a short mask", [&raw const mask as usize, 0, 0, 4, 0, 0], Err(Errno::EINVAL)),
            ("a bad mask", [8, 0, 0, 8, 0, 0], Err(Errno::EFAULT)),
            (
                "a bad time",
                [&raw const mask as usize, 0, [0_u64, 1_000_000_000].as_ptr() as usize, 8, 0, 0],
                Err(Errno::EINVAL),
            ),
            ("without siginfo", [&raw const mask as usize, 0, 0, 8, 0, 0], Ok(SIGRTMIN)),
        ],
    )?;
    // A signal that is ignored by default is taken, too.
    block(&[SIGCHLD])?;
    let child = process::spawn(|| {
        let _ = time::sleep(Duration::from_millis(20));
        0
    });
    let child = child.context("fork")?;
    let info = take(&[SIGCHLD], None).context("SIGCHLD")?;
    ensure!(info.pid == child.0 as u32, "{info:?}");
    ends_with("the child", Status::exit(0), Ok(child))
}

static CAUGHT: AtomicU32 = AtomicU32::new(0);
static WAITER: AtomicU64 = AtomicU64::new(0);

extern "C" fn count(_: i32) {
    CAUGHT.fetch_add(1, Ordering::Relaxed);
}

/// The wait ends at its limit, or with EINTR when the handler of another signal has
/// run. A signal for the process goes to the thread that waits for it.
fn taken_in_time() -> Verdict {
    let limit = Duration::from_millis(20);
    block(&[SIGUSR1])?;
    let start = time::now();
    let late = take(&[SIGUSR1], Some(limit));
    ensure!(late == Err(Errno::EAGAIN) && time::now() - start >= limit, "{late:?}");
    process::handle(SIGUSR2 as i32, count, 0).context("rt_sigaction")?;
    let waiter = thread::spawn(|| {
        WAITER.store(thread::gettid() as u64, Ordering::Release);
        let first = take(&[SIGUSR1], None);
        let second = take(&[SIGUSR1], None).map(|info| info.signal);
        (first, second)
    });
    let waiter = waiter.context("clone")?;
    eventually("a waiter", || WAITER.load(Ordering::Acquire) != 0)?;
    time::sleep(limit).context("sleep")?;
    call(TKILL, [WAITER.load(Ordering::Relaxed) as usize, SIGUSR2, 0, 0, 0, 0]).context("tkill")?;
    eventually("the handler", || CAUGHT.load(Ordering::Relaxed) == 1)?;
    process::kill(process::getpid(), SIGUSR1 as i32).context("kill")?;
    let got = waiter.join();
    ensure!(got == Some((Err(Errno::EINTR), Ok(SIGUSR1 as u32))), "{got:?}");
    ensure!(pending() == 0, "{:#x} wait", pending());
    Ok(())
}
