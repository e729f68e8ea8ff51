//! A signal interrupts a call that waits. If no handler has run, the call waits on until
//! its original deadline. If a handler has run, it fails with `EINTR`, SA_RESTART or not.
//!
//! One thread waits, the first one sends. Both are on one CPU, where a thread that wakes
//! preempts no other. So if the sender ignores a signal right after sending it, the
//! waiter finds an ignored signal: it has woken for nothing.
#![no_std]
#![no_main]

extern crate alloc;

use core::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, Ordering};
use core::time::Duration;

use user::process::{self, Status};
use user::sched::{self, CpuSet};
use user::verdict::child_ends;
use user::{Context, Env, Errno, Verdict, ensure, futex, println, sys, thread, time};

user::main!(main);

const SIGUSR1: i32 = 10;
const SIGUSR2: i32 = 12;

/// A call. A call with a time limit waits for so many milliseconds.
type Call = fn(u64) -> Result<usize, Errno>;

/// The calls that end at a deadline.
const TIMED: [(&str, Call); 7] = [
    ("nanosleep", nanosleep),
    ("clock_nanosleep", |ms| clock_nanosleep(0, span(ms))),
    ("clock_nanosleep to a time", |ms| clock_nanosleep(1, time_in(ms))),
    ("poll", |ms| poll(ms as usize)),
    ("ppoll", ppoll),
    ("futex", |ms| futex::wait(&NEVER, 0, Some(Duration::from_millis(ms))).map(|()| 0)),
    ("futex to a time", futex_until),
];
/// The calls that only a signal ends.
const ENDLESS: [(&str, Call); 6] = [
    ("pause", |_| call(29, [0; 6])),
    ("rt_sigsuspend", |_| call(178, [&0_u64 as *const u64 as usize, 8, 0, 0, 0, 0])),
    ("poll without end", |_| poll(usize::MAX)),
    ("ppoll without end", |_| call(281, [0; 6])),
    ("ppoll that lets it in", |_| lets_in(|none| call(281, [0, 0, 0, none, 8, 0]))),
    ("pselect that lets it in", |_| lets_in(|none| call(280, [0, 0, 0, 0, 0, [none, 8].as_ptr() as usize]))),
];

const SPAN_MS: u64 = 60;
const HOUR_MS: u64 = 3_600_000;
/// The time between two signals, in which a woken thread can go back to sleep.
const PAUSE: Duration = Duration::from_millis(20);
/// So many pauses are enough for any expected event, also on a slow host.
const MANY_PAUSES: u32 = 100;

/// A futex that is never woken.
static NEVER: AtomicU32 = AtomicU32::new(0);
/// The thread that waits, 0 before it does.
static WAITER: AtomicI32 = AtomicI32::new(0);
/// Its call has ended.
static ENDED: AtomicBool = AtomicBool::new(false);
/// How often the handlers ran.
static DISTURBED: AtomicU32 = AtomicU32::new(0);
static INTERRUPTED: AtomicU32 = AtomicU32::new(0);

fn main(_: &Env) -> Verdict {
    let here = sched::current_cpu().context("getcpu")?;
    sched::set_affinity(&CpuSet::only(here)).context("sched_setaffinity")?;
    let mut bad = 0;
    for (name, call) in TIMED {
        bad += fails(name, "not interrupted", || keeps_its_deadline(call));
    }
    for (name, call) in TIMED.into_iter().chain(ENDLESS) {
        bad += fails(name, "interrupted", || ends_by_a_handler(call));
    }
    ensure!(bad == 0, "{bad} calls went wrong");
    Ok(())
}

/// Makes the check in a process of its own; 1 if it fails.
fn fails(name: &str, how: &str, check: impl FnOnce() -> Verdict) -> u32 {
    let ended = child_ends(name, Status::exit(0), || match check() {
        Ok(()) => 0,
        Err(why) => {
            println!("{name}, {how}: {why}");
            1
        }
    });
    if ended.is_ok() {
        println!("{name}, {how}: as it should be");
    }
    u32::from(ended.is_err())
}

fn keeps_its_deadline(call: Call) -> Verdict {
    let start = time::now();
    let waiter = start_waiter(call, SPAN_MS)?;
    // A call that began its whole span again each time would not end.
    for _ in 0..MANY_PAUSES {
        sleep();
        if ENDED.load(Ordering::Acquire) {
            let answer = waiter.join().context_none("the waiter was lost")?;
            ensure!(matches!(answer, Ok(0) | Err(Errno::ETIMEDOUT)), "{answer:?}");
            let took = time::now() - start;
            ensure!(took >= Duration::from_millis(SPAN_MS), "it took {took:?}");
            return Ok(());
        }
        disturb()?;
    }
    core::mem::forget(waiter);
    Err("its time never comes".into())
}

fn ends_by_a_handler(call: Call) -> Verdict {
    process::handle(SIGUSR2, interrupted, 0).context("rt_sigaction")?;
    let waiter = start_waiter(call, HOUR_MS)?;
    for _ in 0..3 {
        sleep();
        disturb()?;
    }
    sleep();
    if !ENDED.load(Ordering::Acquire) {
        send(SIGUSR2)?;
        let mut pauses = 0;
        while !ENDED.load(Ordering::Acquire) {
            if pauses == MANY_PAUSES {
                core::mem::forget(waiter);
                return Err("it waits on after a handler".into());
            }
            sleep();
            pauses += 1;
        }
    }
    let answer = waiter.join().context_none("the waiter was lost")?;
    let handled = INTERRUPTED.load(Ordering::Relaxed);
    ensure!(handled == 1 && answer == Err(Errno::EINTR), "{answer:?} after {handled} handlers");
    Ok(())
}

type Waiter = thread::Thread<Result<usize, Errno>>;

fn start_waiter(call: Call, ms: u64) -> Result<Waiter, alloc::string::String> {
    process::handle(SIGUSR1, disturbed, 0).context("rt_sigaction")?;
    let waiter = thread::spawn(move || {
        WAITER.store(thread::gettid(), Ordering::Release);
        let answer = loop {
            let before = DISTURBED.load(Ordering::Relaxed);
            let answer = call(ms);
            // The sender's time slice ended before it ignored its signal.
            if answer != Err(Errno::EINTR) || DISTURBED.load(Ordering::Relaxed) == before {
                break answer;
            }
        };
        ENDED.store(true, Ordering::Release);
        answer
    });
    let waiter = waiter.context("clone")?;
    while WAITER.load(Ordering::Acquire) == 0 {
        sleep();
    }
    Ok(waiter)
}

/// Wakes the waiter by a signal that is ignored by the time the waiter looks.
fn disturb() -> Verdict {
    process::handle(SIGUSR1, disturbed, 0).context("rt_sigaction")?;
    send(SIGUSR1)?;
    process::ignore(SIGUSR1).context("rt_sigaction")
}

fn send(signal: i32) -> Verdict {
    const TKILL: usize = 208;
    let waiter = WAITER.load(Ordering::Relaxed) as usize;
    call(TKILL, [waiter, signal as usize, 0, 0, 0, 0]).context("tkill").map(drop)
}

extern "C" fn disturbed(_: i32) {
    DISTURBED.fetch_add(1, Ordering::Relaxed);
}

extern "C" fn interrupted(_: i32) {
    INTERRUPTED.fetch_add(1, Ordering::Relaxed);
}

fn sleep() {
    let _ = time::sleep(PAUSE);
}

/// Linux's `struct timespec`.
type Timespec = [u64; 2];

fn timespec(time: Duration) -> Timespec {
    [time.as_secs(), u64::from(time.subsec_nanos())]
}

fn span(ms: u64) -> Timespec {
    timespec(Duration::from_millis(ms))
}

fn time_in(ms: u64) -> Timespec {
    timespec(time::now() + Duration::from_millis(ms))
}

fn call(number: usize, args: [usize; 6]) -> Result<usize, Errno> {
    // SAFETY: only for calls that read living memory.
    unsafe { sys::syscall(number, args) }
}

fn nanosleep(ms: u64) -> Result<usize, Errno> {
    call(162, [span(ms).as_ptr() as usize, 0, 0, 0, 0, 0])
}

fn clock_nanosleep(flags: usize, time: Timespec) -> Result<usize, Errno> {
    const CLOCK_MONOTONIC: usize = 1;
    call(248, [CLOCK_MONOTONIC, flags, time.as_ptr() as usize, 0, 0, 0])
}

fn poll(ms: usize) -> Result<usize, Errno> {
    call(167, [0, 0, ms, 0, 0, 0])
}

fn ppoll(ms: u64) -> Result<usize, Errno> {
    let mut span = span(ms);
    // Linux stores the remaining time there.
    call(281, [0, 0, span.as_mut_ptr() as usize, 0, 0, 0])
}

/// `wait` gets the address of a mask that lets SIGUSR2 in. The signal is blocked before
/// the call and must be blocked afterwards.
fn lets_in(wait: impl FnOnce(usize) -> Result<usize, Errno>) -> Result<usize, Errno> {
    const SIGPROCMASK: usize = 174;
    let (none, usr2, mut after) = (0_u64, 1_u64 << (SIGUSR2 - 1), 0_u64);
    call(SIGPROCMASK, [0, &raw const usr2 as usize, 0, 8, 0, 0])?;
    let answer = wait(&raw const none as usize);
    call(SIGPROCMASK, [0, 0, &raw mut after as usize, 8, 0, 0])?;
    if after & usr2 == 0 { Err(Errno::EINVAL) } else { answer }
}

fn futex_until(ms: u64) -> Result<usize, Errno> {
    const WAIT_BITSET_PRIVATE: usize = 9 | 0x80;
    let time = time_in(ms);
    let bits = u32::MAX as usize;
    call(221, [NEVER.as_ptr() as usize, WAIT_BITSET_PRIVATE, 0, time.as_ptr() as usize, 0, bits])
}

/// [`Context`] for an Option.
trait ContextNone<T> {
    fn context_none(self, what: &str) -> Result<T, alloc::string::String>;
}

impl<T> ContextNone<T> for Option<T> {
    fn context_none(self, what: &str) -> Result<T, alloc::string::String> {
        self.ok_or_else(|| what.into())
    }
}
