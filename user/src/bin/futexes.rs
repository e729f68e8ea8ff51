//! The futex call itself: values, time limits, counts of woken sleepers, bad addresses,
//! and a ball that two threads throw.
#![no_std]
#![no_main]

extern crate alloc;

use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, Ordering};
use core::time::Duration;

use user::memory::{self, PAGE, Protection, Region};
use user::thread::{self, Thread};
use user::verdict::format;
use user::{Context, Env, Errno, Verdict, ensure, futex, kinds, println, sched, time};

user::main!(main);

const SLEEPERS: usize = 4;
const THROWS: u32 = 500;

fn main(_env: &Env) -> Verdict {
    answers()?;
    println!("answers: ok");
    odd_arguments()?;
    println!("odd arguments: ok");
    requeues()?;
    println!("requeues: ok");
    wake_counts()?;
    println!("wake counts: ok");
    ball()?;
    println!("ball: ok");
    Ok(())
}

fn answers() -> Verdict {
    let word = AtomicU32::new(7);
    let answer = futex::wait(&word, 8, None);
    ensure!(answer == Err(Errno::EAGAIN), "another value gave {answer:?}");

    let limit = Duration::from_millis(5);
    let start = time::now();
    let answer = futex::wait(&word, 7, Some(limit));
    let slept = time::now() - start;
    ensure!(answer == Err(Errno::ETIMEDOUT), "the limit gave {answer:?}");
    ensure!(slept >= limit, "5 ms took {} us only", slept.as_micros());

    ensure!(futex::wake(&word, 1) == 0, "woke somebody where nobody sleeps");

    let region = Region::new(1).context("mmap")?;
    let gone = region.address() as *const AtomicU32;
    drop(region);
    // SAFETY: the word is only named to the kernel, which refuses it.
    let answer = futex::wait(unsafe { &*gone }, 0, None);
    ensure!(answer == Err(Errno::EFAULT), "a bad address gave {answer:?}");
    Ok(())
}

const FUTEX: usize = 221;
const WAIT: usize = 0;
const WAKE: usize = 1;
const REQUEUE: usize = 3;
const CMP_REQUEUE: usize = 4;
const WAIT_BITSET: usize = 9;
const WAKE_BITSET: usize = 10;
const PRIVATE: usize = 0x80;
const MINUS_ONE: usize = usize::MAX;

/// Every operation refuses words at impossible addresses, shared words that are not
/// mapped, and meaningless values.
fn odd_arguments() -> Verdict {
    let (word, other) = (AtomicU32::new(0), AtomicU32::new(0));
    let (here, there) = (word.as_ptr() as usize, other.as_ptr() as usize);
    let region = Region::new(2).context("mmap")?;
    let (none, unmapped) = (region.address(), region.address() + PAGE);
    core::mem::forget(region);
    // SAFETY: nothing uses the region.
    unsafe {
        memory::protect(none, PAGE, Protection::NONE).context("mprotect")?;
        memory::unmap(unmapped, PAGE).context("munmap")?;
    }
    let (invalid, fault, unknown) = (Err(Errno::EINVAL), Err(Errno::EFAULT), Err(Errno::ENOSYS));
    for at in [none, unmapped, 1 << 63] {
        let what = format!("shared, at {at:#x}");
        let what = what.as_str();
        kinds::answers(
            FUTEX,
            &[
                (what, [at, WAKE, 1, 0, 0, 0], fault),
                (what, [at, WAKE_BITSET, 1, 0, 0, 1], fault),
                (what, [at, WAIT, 0, 0, 0, 0], fault),
                (what, [at, REQUEUE, 1, 1, there, 0], fault),
                (what, [here, REQUEUE, 1, 1, at, 0], fault),
                (what, [here, CMP_REQUEUE, 1, 1, at, 0], fault),
                (what, [at, CMP_REQUEUE | PRIVATE, 1, 1, there, 0], fault),
            ],
        )?;
    }
    let private = WAKE | PRIVATE;
    kinds::answers(
        FUTEX,
        &[
            ("private, not there", [unmapped, private, 1, 0, 0, 0], Ok(0)),
            ("private, no program's", [1 << 63, private, 1, 0, 0, 0], fault),
            ("not aligned", [here + 2, WAKE, 1, 0, 0, 0], invalid),
            ("not aligned, private", [here + 1, private, 1, 0, 0, 0], invalid),
            ("second not aligned", [here, REQUEUE, 1, 1, there + 2, 0], invalid),
            ("wait, not aligned", [here + 2, WAIT, 0, 0, 0, 0], invalid),
            ("wake without bits", [here, WAKE_BITSET, 1, 0, 0, 0], invalid),
            ("wait without bits", [here, WAIT_BITSET, 0, 0, 0, 0], invalid),
            ("wakes -1", [here, REQUEUE, MINUS_ONE, 1, there, 0], invalid),
            ("moves -1", [here, REQUEUE, 1, MINUS_ONE, there, 0], invalid),
            ("another value", [here, CMP_REQUEUE, 1, 1, there, 5], Err(Errno::EAGAIN)),
            ("operation 77", [here, 77, 0, 0, 0, 0], unknown),
            ("operation 2", [here, 2, 0, 0, 0, 0], unknown),
            ("wake by the clock", [here, WAKE | 0x100, 1, 0, 0, 0], unknown),
            ("a bad time", [here, WAIT, 0, [0_u64, 1_000_000_000].as_ptr() as usize, 0, 0], invalid),
            ("a time at a bad address", [here, WAIT, 0, 8, 0, 0], fault),
        ],
    )
}

/// Sleepers wait with a bit each. Bits choose sleepers, and counts limit them. Sleepers
/// that were moved wait for the other word only.
fn requeues() -> Verdict {
    static FROM: AtomicU32 = AtomicU32::new(0);
    static TO: AtomicU32 = AtomicU32::new(0);
    let (from, to) = (FROM.as_ptr() as usize, TO.as_ptr() as usize);
    let futex = |address: usize, operation: usize, count: usize, moved: usize, other: usize, bits: usize| {
        kinds::call(FUTEX, [address, operation | PRIVATE, count, moved, other, bits])
    };
    let mut sleepers = Vec::new();
    for index in 0..SLEEPERS {
        let sleep = move || kinds::call(FUTEX, [from, WAIT_BITSET | PRIVATE, 0, 0, 0, 1 << index]);
        sleepers.push(thread::spawn(sleep).context("clone")?);
    }
    // All sleep once this many can be moved to their own word.
    let all = Ok(SLEEPERS);
    kinds::eventually("the sleepers", || futex(from, REQUEUE, 0, 99, from, 0) == all)?;
    ensure!(futex(from, WAKE_BITSET, 99, 0, 0, 1 << 20) == Ok(0), "a bit that nobody has");
    ensure!(futex(from, WAKE_BITSET, 99, 0, 0, 0b100) == Ok(1), "the third sleeper");
    ensure!(futex(from, CMP_REQUEUE, 0, 1, to, 0) == Ok(1), "one is moved");
    ensure!(futex(from, REQUEUE, 1, 1, to, 0) == Ok(2), "one is woken, one moved");
    ensure!(futex(from, WAKE, 99, 0, 0, 0) == Ok(0), "one is left");
    ensure!(futex(to, WAKE, 1, 0, 0, 0) == Ok(1), "the first that was moved");
    ensure!(futex(to, WAKE_BITSET, 99, 0, 0, 0xb) == Ok(1), "the second keeps its bit");
    for sleeper in sleepers {
        let answer = sleeper.join();
        ensure!(answer == Some(Ok(0)), "a sleeper got {answer:?}");
    }
    Ok(())
}

/// Each sleeper sleeps once, so the wake-ups add up to their number exactly.
fn wake_counts() -> Verdict {
    static BED: AtomicU32 = AtomicU32::new(0);
    let mut sleepers = Vec::new();
    for _ in 0..SLEEPERS {
        sleepers.push(thread::spawn(|| futex::wait(&BED, 0, None)).context("clone")?);
    }
    let mut woken = 0;
    while woken < SLEEPERS {
        let now = futex::wake(&BED, 1);
        ensure!(now <= 1, "a wake-up of 1 woke {now}");
        woken += now;
        sched::yield_now();
    }
    for sleeper in sleepers {
        let answer = sleeper.join();
        ensure!(answer == Some(Ok(())), "a sleeper got {answer:?}");
    }
    Ok(())
}

/// Even values are one thread's turn, odd ones the other's.
fn ball() -> Verdict {
    static BALL: AtomicU32 = AtomicU32::new(0);
    fn play(parity: u32) {
        loop {
            // Acquire and release: the threads share only the ball.
            let value = BALL.load(Ordering::Acquire);
            if value >= THROWS {
                return;
            }
            if value % 2 == parity {
                BALL.store(value + 1, Ordering::Release);
                futex::wake(&BALL, 1);
            } else {
                let _ = futex::wait(&BALL, value, None);
            }
        }
    }
    let players: [Thread<()>; 2] =
        [thread::spawn(|| play(0)).context("clone")?, thread::spawn(|| play(1)).context("clone")?];
    for player in players {
        ensure!(player.join().is_some(), "a player left");
    }
    let value = BALL.load(Ordering::Relaxed);
    ensure!(value == THROWS, "the ball was thrown {value} times");
    Ok(())
}
