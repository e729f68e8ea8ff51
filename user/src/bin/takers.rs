//! A signal of the process wakes one thread for it. If that thread blocks the signal
//! before it has taken it, another thread takes it.
//!
//! Two signals come while the first thread can take neither: it waits for a child of
//! vfork, which sends them. The handler of the first signal blocks the second, and
//! waits until that has been handled.
#![no_std]
#![no_main]

extern crate alloc;

use core::sync::atomic::{AtomicI32, AtomicU32, Ordering};

use user::process::{self, Pid, Status};
use user::{Context, Env, Verdict, ensure, futex, println, thread};

user::main!(main);

const SIGUSR1: i32 = 10;
const SIGUSR2: i32 = 12;

/// The threads that handled the signals; 0 before.
static FIRST_TAKER: AtomicI32 = AtomicI32::new(0);
static SECOND_TAKER: AtomicI32 = AtomicI32::new(0);
/// 1 once the second signal was handled. Both threads wait for that.
static HANDLED: AtomicU32 = AtomicU32::new(0);

fn await_second() {
    while HANDLED.load(Ordering::Acquire) == 0 {
        let _ = futex::wait(&HANDLED, 0, None);
    }
}

extern "C" fn first(_: i32) {
    FIRST_TAKER.store(thread::gettid(), Ordering::Relaxed);
    await_second();
}

extern "C" fn second(_: i32) {
    SECOND_TAKER.store(thread::gettid(), Ordering::Relaxed);
    HANDLED.store(1, Ordering::Release);
    futex::wake_all(&HANDLED);
}

fn main(_: &Env) -> Verdict {
    process::handle(SIGUSR1, first, 1 << (SIGUSR2 - 1)).context("rt_sigaction")?;
    process::handle(SIGUSR2, second, 0).context("rt_sigaction")?;
    let us: Pid = process::getpid();
    let other = thread::spawn(await_second).context("clone")?;
    let child = process::spawn_ahead(|| {
        i32::from(process::kill(us, SIGUSR1).is_err() || process::kill(us, SIGUSR2).is_err())
    })
    .context("fork")?;
    // The first signal was taken on the return from there.
    await_second();
    ensure!(other.join().is_some(), "a thread was lost");
    let status = process::wait(child).context("wait4")?;
    ensure!(status == Status::exit(0), "the sender ended with {status}");
    let (first, second) = (FIRST_TAKER.load(Ordering::Relaxed), SECOND_TAKER.load(Ordering::Relaxed));
    ensure!(first == thread::gettid() && second != first, "taken by {first} and {second}");
    println!("each signal had a taker of its own");
    Ok(())
}
