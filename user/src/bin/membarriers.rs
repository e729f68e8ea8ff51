//! membarrier(2)'s answers here, while threads of this address space run on the
//! other CPUs; and each command is a barrier in those threads, which have none.
#![no_std]
#![no_main]

extern crate alloc;

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering, compiler_fence};

use user::membarrier::{Command, FLAG_CPU, membarrier, membarrier_on};
use user::process::Status;
use user::sched::{self, CpuSet};
use user::sync::Barrier;
use user::thread::{self, Thread};
use user::verdict::child_ends;
use user::{Context, Env, Errno, Verdict, ensure, println};

user::main!(main);

/// The commands of this kernel: all but the two of restartable sequences.
const COMMANDS: usize = 0x7f | 1 << 9;

/// A host runs few CPUs at a time: more threads that spin only take longer.
const MOST_CPUS: usize = 32;

fn main(_: &Env) -> Verdict {
    if user::verdict::on_foreign_kernel() {
        println!("membarriers: not on a host, whose kernel knows other commands");
        return Ok(());
    }
    let cpus: Vec<usize> = sched::affinity().context("sched_getaffinity")?.iter().collect();
    // Without another thread in the mm a private command has nothing to do.
    let others = Others::start(&cpus[1..cpus.len().min(MOST_CPUS)])?;
    let answered = answers();
    others.stop()?;
    answered?;
    child_ends("a fork keeps what was registered", Status::exit(0), || i32::from(registered().is_err()))?;
    println!("answers: ok");
    let last = cpus[cpus.len() - 1];
    for command in [
        Command::GLOBAL,
        Command::GLOBAL_EXPEDITED,
        Command::PRIVATE_EXPEDITED,
        Command::PRIVATE_EXPEDITED_SYNC_CORE,
    ] {
        is_a_barrier(command, last)?;
    }
    println!("barriers: ok");
    Ok(())
}

/// A thread on each of some CPUs, which runs until it is stopped.
struct Others {
    stop: Arc<AtomicBool>,
    threads: Vec<Thread<Verdict>>,
}

impl Others {
    /// On return all of them run.
    fn start(cpus: &[usize]) -> Result<Self, alloc::string::String> {
        let stop = Arc::new(AtomicBool::new(false));
        let running = Arc::new(AtomicU32::new(0));
        let mut threads = Vec::new();
        for &cpu in cpus {
            let (stop, running) = (stop.clone(), running.clone());
            let run = move || {
                let moved = sched::set_affinity(&CpuSet::only(cpu)).context("sched_setaffinity");
                running.fetch_add(1, Ordering::Release);
                while !stop.load(Ordering::Acquire) {
                    sched::relax();
                }
                moved
            };
            threads.push(thread::spawn(run).context("clone")?);
        }
        while (running.load(Ordering::Acquire) as usize) < cpus.len() {
            sched::yield_now();
        }
        Ok(Others { stop, threads })
    }

    fn stop(self) -> Verdict {
        self.stop.store(true, Ordering::Release);
        self.threads.into_iter().try_for_each(|thread| thread.join().ok_or("a thread was lost")?)
    }
}

fn answer(command: Command, flags: usize, expected: Result<usize, Errno>) -> Verdict {
    let found = membarrier_on(command, flags, 0);
    ensure!(found == expected, "{command:?} with flags {flags}: {found:?}, not {expected:?}");
    Ok(())
}

/// Unknown commands, and unknown flags: the answers of a kernel without restartable
/// sequences.
fn refusals() -> Verdict {
    for command in [Command::PRIVATE_EXPEDITED_RSEQ, Command::REGISTER_PRIVATE_EXPEDITED_RSEQ] {
        for flags in [0, FLAG_CPU, 2] {
            answer(command, flags, Err(Errno::EINVAL))?;
        }
    }
    let two = Command(Command::GLOBAL.0 | Command::GLOBAL_EXPEDITED.0);
    for command in [two, Command(1 << 10), Command(1 << 31), Command(usize::MAX)] {
        answer(command, 0, Err(Errno::EINVAL))?;
    }
    for bit in (0..10).filter(|bit| COMMANDS & 1 << bit != 0) {
        answer(Command(1 << bit), FLAG_CPU, Err(Errno::EINVAL))?;
    }
    answer(Command::QUERY, FLAG_CPU, Err(Errno::EINVAL))
}

fn answers() -> Verdict {
    answer(Command::QUERY, 0, Ok(COMMANDS))?;
    refusals()?;
    answer(Command::GLOBAL, 0, Ok(0))?;
    answer(Command::GLOBAL_EXPEDITED, 0, Ok(0))?;
    let mut all = 0;
    answer(Command::GET_REGISTRATIONS, 0, Ok(all))?;
    for (command, register) in PRIVATE {
        answer(command, 0, Err(Errno::EPERM))?;
        answer(register, 0, Ok(0))?;
        all |= register.0;
        answer(Command::GET_REGISTRATIONS, 0, Ok(all))?;
    }
    answer(Command::REGISTER_GLOBAL_EXPEDITED, 0, Ok(0))?;
    registered()?;
    // No registration makes an unknown command known.
    refusals()
}

/// Commands of one process, and the registration that each needs.
const PRIVATE: [(Command, Command); 2] = [
    (Command::PRIVATE_EXPEDITED, Command::REGISTER_PRIVATE_EXPEDITED),
    (Command::PRIVATE_EXPEDITED_SYNC_CORE, Command::REGISTER_PRIVATE_EXPEDITED_SYNC_CORE),
];

/// The answers to a process that has registered for everything.
fn registered() -> Verdict {
    let all =
        PRIVATE.iter().fold(Command::REGISTER_GLOBAL_EXPEDITED.0, |sum, (_, register)| sum | register.0);
    answer(Command::GET_REGISTRATIONS, 0, Ok(all))?;
    answer(Command::GLOBAL_EXPEDITED, 0, Ok(0))?;
    PRIVATE.iter().try_for_each(|&(command, register)| {
        answer(command, 0, Ok(0))?;
        answer(register, 0, Ok(0))
    })
}

/// Two threads raise a flag each and read the other's. One has no barrier; yet at
/// least one of them must see the other's flag.
fn is_a_barrier(command: Command, cpu: usize) -> Verdict {
    const TURNS: usize = 20;
    struct Flags {
        fast: AtomicU32,
        slow: AtomicU32,
        fast_saw: AtomicU32,
        turn: Barrier,
    }
    let new = || AtomicU32::new(0);
    let flags = Arc::new(Flags { fast: new(), slow: new(), fast_saw: new(), turn: Barrier::new(2) });
    let theirs = flags.clone();
    let fast = thread::spawn(move || {
        let moved = sched::set_affinity(&CpuSet::only(cpu));
        for _ in 0..TURNS {
            theirs.turn.wait();
            theirs.fast.store(1, Ordering::Relaxed);
            // Keeps the compiler's order; the other side's command orders the CPU.
            compiler_fence(Ordering::SeqCst);
            theirs.fast_saw.store(theirs.slow.load(Ordering::Relaxed), Ordering::Relaxed);
            theirs.turn.wait();
        }
        moved
    })
    .context("clone")?;
    // Both go through all turns, even after an error: each waits for the other.
    let (mut missed, mut refused) = (0, 0);
    for _ in 0..TURNS {
        flags.fast.store(0, Ordering::Relaxed);
        flags.slow.store(0, Ordering::Relaxed);
        flags.turn.wait();
        flags.slow.store(1, Ordering::Relaxed);
        refused += usize::from(membarrier(command).is_err());
        let slow_saw = flags.fast.load(Ordering::Relaxed);
        flags.turn.wait();
        missed += usize::from(slow_saw == 0 && flags.fast_saw.load(Ordering::Relaxed) == 0);
    }
    fast.join().ok_or("a thread was lost")?.context("sched_setaffinity")?;
    ensure!(refused == 0, "{command:?} was refused {refused} times");
    ensure!(missed == 0, "{command:?}: neither side saw the other, {missed} times of {TURNS}");
    Ok(())
}
