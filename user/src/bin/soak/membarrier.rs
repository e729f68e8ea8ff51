//! membarrier(2) in its usual role: the barrier of the slow side of a handshake
//! whose fast side has none.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicU32, Ordering, compiler_fence};

use user::membarrier::{Command, membarrier};
use user::sync::Barrier;
use user::{Context, Errno, Verdict, ensure, thread};

use super::{Worker, move_to, threads};

struct Flags {
    fast: AtomicU32,
    slow: AtomicU32,
    fast_saw: AtomicU32,
    turn: Barrier,
}

/// Each side stores its flag and reads the other's: one of them must see the other.
/// Only the slow side pays for a barrier.
pub(crate) fn asymmetric(worker: &mut Worker) -> Verdict {
    const TURNS: usize = 10;
    let commands = membarrier(Command::QUERY).unwrap_or(0);
    let command = match worker.random.below(8) {
        0 if Command::GLOBAL.is_in(commands) => Command::GLOBAL,
        _ => Command::PRIVATE_EXPEDITED,
    };
    if !command.is_in(commands) {
        return Ok(());
    }
    if command == Command::PRIVATE_EXPEDITED {
        membarrier(Command::REGISTER_PRIVATE_EXPEDITED).context("membarrier(REGISTER)")?;
    }
    let (fast, slow) = (AtomicU32::new(0), AtomicU32::new(0));
    let flags = Arc::new(Flags { fast, slow, fast_saw: AtomicU32::new(0), turn: Barrier::new(2) });
    let theirs = flags.clone();
    let cpu = worker.any_cpu();
    let fast = thread::spawn(move || {
        let moved = move_to(cpu);
        for _ in 0..TURNS {
            theirs.turn.wait();
            theirs.fast.store(1, Ordering::Relaxed);
            // Keeps the compiler's order; the slow side's command orders the CPU.
            compiler_fence(Ordering::SeqCst);
            theirs.fast_saw.store(theirs.slow.load(Ordering::Relaxed), Ordering::Relaxed);
            theirs.turn.wait();
        }
        moved.map(drop)
    })
    .context("clone")?;
    let mut verdict = Ok(());
    for turn in 0..TURNS {
        flags.fast.store(0, Ordering::Relaxed);
        flags.slow.store(0, Ordering::Relaxed);
        flags.turn.wait();
        flags.slow.store(1, Ordering::Relaxed);
        let answer = membarrier(command);
        let slow_saw = flags.fast.load(Ordering::Relaxed);
        flags.turn.wait();
        let seen = slow_saw != 0 || flags.fast_saw.load(Ordering::Relaxed) != 0;
        if verdict.is_ok() {
            verdict = check(turn, answer, seen);
        }
    }
    threads::joined(fast)??;
    verdict
}

fn check(turn: usize, answer: Result<usize, Errno>, seen: bool) -> Verdict {
    answer.context("membarrier")?;
    ensure!(seen, "turn {turn}: neither side saw the other");
    Ok(())
}
