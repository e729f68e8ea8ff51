//! Every register that a program can see is its own, over system calls, interrupts, faults,
//! signals, preemption and migration. fork and clone copy them; exec leaves nothing of
//! another program's.
#![no_std]
#![no_main]

extern crate alloc;

mod rain;
mod state;

use core::arch::asm;

use state::{Kept, Registers, VSCR_NJ};
use user::process::{self, Status};
use user::verdict::{child_ends, on_foreign_kernel};
use user::{Context, Env, Verdict, ensure, println, sched, thread};

user::main!(main);

/// The argument of the program that only checks [`begins_fresh`].
const FRESH: &str = "fresh";

fn main(env: &Env) -> Verdict {
    if env.arg(1) == Some(FRESH) {
        return begins_fresh();
    }
    ungated_without_vectors()?;
    println!("VRSAVE and PPR before any vector: ok");
    begins_fresh()?;
    // qemu-ppc64 cannot execute this program again.
    if let (false, Some(path)) = (on_foreign_kernel(), env.arg_bytes(0)) {
        child_ends("exec", Status::exit(0), || {
            Registers::pattern(1).load_vectors();
            process::exec(path, &[path, c"fresh"], &[]).0
        })?;
    }
    println!("a new program: ok");
    first_uses()?;
    println!("first uses: ok");
    rain::kept_by_fork()?;
    kept_by_clone()?;
    println!("fork and clone: ok");
    if on_foreign_kernel() {
        println!("the rest: skipped, the signal frames of qemu-ppc64 have half of FPSCR and no VSCR");
        return Ok(());
    }
    let other = process::spawn(|| match rain::all_are_kept(2) {
        Ok(()) => 0,
        Err(why) => {
            println!("the other process: {why}");
            1
        }
    });
    let verdict = rain::all_are_kept(1);
    let ended = process::wait(other.context("fork")?).context("wait4")?;
    verdict?;
    ensure!(ended.success(), "the other process ended with {ended}");
    println!("interrupts, signals, faults, calls, migration: ok");
    Ok(())
}

/// A new program starts with zeroes, whatever the old one left. Only the VSCR is not zero:
/// Linux sets NJ in it.
fn begins_fresh() -> Verdict {
    let fresh = Registers::zero(VSCR_NJ);
    Registers::with_vectors_of_now().check(&fresh, Kept::Vectors).context("a new program")
}

/// VRSAVE and PPR can be used before any vector, which this program has not touched until
/// now. A thread starts with its maker's.
fn ungated_without_vectors() -> Verdict {
    const ROUNDS: u64 = 50;
    /// Priorities that a program may choose: low, medium low, medium.
    const PRIORITIES: [u64; 3] = [2 << 50, 3 << 50, 4 << 50];
    let first = ungated();
    let hold = move |seed: u64| {
        let mut mine = first;
        for round in 0..ROUNDS {
            let seen = ungated();
            ensure!(seen == mine, "VRSAVE and PPR of {seed} are {seen:x?}, were {mine:x?}");
            mine = [seed << 16 | round, PRIORITIES[(seed + round) as usize % 3]];
            // SAFETY: registers that mean nothing to other code.
            unsafe { asm!("mtspr 256, {}", "mtspr 896, {}", in(reg) mine[0], in(reg) mine[1]) };
            sched::yield_now();
        }
        Ok(())
    };
    ensure!(first[0] == 0, "a new program has VRSAVE {:x}", first[0]);
    let threads = [1, 2, 3].map(|seed| thread::spawn(move || hold(seed)));
    for thread in threads {
        let ended = thread.context("clone")?.join();
        ended.unwrap_or_else(|| Err("a thread was lost".into()))?;
    }
    Ok(())
}

/// VRSAVE and PPR.
fn ungated() -> [u64; 2] {
    let (vrsave, ppr);
    // SAFETY: reads.
    unsafe { asm!("mfspr {}, 256", "mfspr {}, 896", out(reg) vrsave, out(reg) ppr) };
    [vrsave, ppr]
}

/// The first use of floating point, VMX and VSX each raises an exception of its own, and
/// each brings all vectors.
fn first_uses() -> Verdict {
    let mine = Registers::pattern(79);
    mine.load_vectors();
    let uses: [(&str, fn()); 3] = [
        // SAFETY: a store below the stack pointer, where the compiler has nothing. A
        // register would not keep its second half.
        ("floating point", || unsafe { asm!("stfd 31, -8(1)") }),
        // SAFETY: registers that keep their values; compiled code does not use them.
        ("VMX", || unsafe { asm!("vor 31, 31, 31") }),
        // SAFETY: a register that keeps its value; compiled code does not use it.
        ("VSX", || unsafe { asm!("xxlor 40, 40, 40") }),
    ];
    for (name, first_use) in uses {
        child_ends(name, Status::exit(0), || {
            first_use();
            i32::from(Registers::with_vectors_of_now().check(&mine, Kept::Vectors).is_err())
        })?;
    }
    Ok(())
}

/// A thread starts with its maker's vectors, and the maker's stay as they are.
fn kept_by_clone() -> Verdict {
    let mine = Registers::pattern(78);
    mine.load_vectors();
    let thread = thread::spawn(Registers::with_vectors_of_now);
    let own = Registers::with_vectors_of_now();
    let seen = thread.context("clone")?.join().ok_or("it was lost").context("the thread")?;
    seen.check(&mine, Kept::Vectors).context("a new thread")?;
    own.check(&mine, Kept::Vectors).context("the maker of a thread")
}
