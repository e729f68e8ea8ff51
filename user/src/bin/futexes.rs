//! The futex call itself: values, time limits, counts of the woken, bad addresses,
//! and a ball that two threads throw.
#![no_std]
#![no_main]

extern crate alloc;

use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, Ordering};
use core::time::Duration;

use user::memory::Region;
use user::thread::{self, Thread};
use user::{Context, Env, Errno, Verdict, ensure, futex, println, sched, time};

user::main!(main);

const SLEEPERS: usize = 4;
const THROWS: u32 = 500;

fn main(_env: &Env) -> Verdict {
    answers()?;
    println!("answers: ok");
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
            // Acquire and release: the ball is the only thing they share.
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
