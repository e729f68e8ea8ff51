//! `threads [COUNT]`: threads that start, share, wait for one another and end.
//!
//! Checks: one counter under a mutex, results through join, generations of short
//! threads (stacks and ids are given back), affinity, and the three ways in
//! which a process with threads ends: exit_group beside sleepers, exec, and a
//! first thread that leaves before the others.
#![no_std]
#![no_main]

extern crate alloc;

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::AtomicU32;
use core::time::Duration;

use user::process::{self, Status, exit_group};
use user::sched::{self, CpuSet};
use user::sync::{Barrier, Mutex};
use user::thread::{self, Thread};
use user::verdict::child_ends;
use user::{Context, Env, Errno, Verdict, ensure, futex, println, time};

user::main!(main);

const INCREMENTS: u64 = 1000;
const GENERATIONS: usize = 20;
/// A host runs few CPUs at a time: more threads only take longer.
const MOST_CPUS: usize = 32;

fn main(env: &Env) -> Verdict {
    let cpus: Vec<usize> = sched::affinity().context("sched_getaffinity")?.iter().collect();
    let count = env.number(1, 2 * cpus.len().min(MOST_CPUS));

    counter(count)?;
    println!("counter: ok");
    for _ in 0..GENERATIONS {
        let threads = start(count, |index| index)?;
        for (index, thread) in threads.into_iter().enumerate() {
            ensure!(thread.join() == Some(index), "a result was lost");
        }
    }
    println!("generations: ok");
    affinity(&cpus)?;
    println!("affinity: ok");

    child_ends("exit_group", Status::exit(3), || {
        let _sleepers = start(count, |_| sleep_forever());
        exit_group(3)
    })?;
    child_ends("exit_group by a thread", Status::exit(4), || {
        let _threads = start(count, |_| exit_group(4));
        sleep_forever()
    })?;
    child_ends("exec", Status::exit(0), || {
        let _sleepers = start(count, |_| sleep_forever());
        process::exec(c"/bin/true", &[c"true"], &[]).0
    })?;
    child_ends("first thread first", Status::exit(5), || {
        let last = thread::spawn(|| {
            let _ = time::sleep(Duration::from_millis(2));
            exit_group(5)
        });
        core::mem::forget(last);
        thread::exit()
    })?;
    println!("ends: ok");
    Ok(())
}

/// Starts `count` threads that run `work` with their index.
fn start<R: Send + 'static>(
    count: usize,
    work: impl Fn(usize) -> R + Send + Copy + 'static,
) -> Result<Vec<Thread<R>>, alloc::string::String> {
    let mut threads = Vec::new();
    for index in 0..count {
        threads.push(thread::spawn(move || work(index)).context("clone")?);
    }
    Ok(threads)
}

fn counter(count: usize) -> Verdict {
    let shared = Arc::new((Mutex::new(0u64), Barrier::new(count)));
    let mut threads = Vec::new();
    for _ in 0..count {
        let shared = shared.clone();
        let work = move || {
            shared.1.wait();
            for _ in 0..INCREMENTS {
                *shared.0.lock() += 1;
            }
            thread::gettid()
        };
        threads.push(thread::spawn(work).context("clone")?);
    }
    let mut ids: Vec<i32> = threads.into_iter().filter_map(Thread::join).collect();
    let total = *shared.0.lock();
    ensure!(total == INCREMENTS * count as u64, "the counter is {total}");
    ids.sort_unstable();
    ids.dedup();
    ensure!(ids.len() == count, "{count} threads had {} ids", ids.len());
    ensure!(!ids.contains(&thread::gettid()), "a thread had its parent's id");
    Ok(())
}

/// Each thread walks over all CPUs, and checks where it is.
fn affinity(cpus: &[usize]) -> Verdict {
    let mut threads = Vec::new();
    for first in 0..cpus.len() {
        let cpus = cpus.to_vec();
        let walk = move || {
            let (before, after) = cpus.split_at(first);
            for &cpu in after.iter().chain(before) {
                let only = CpuSet::only(cpu);
                sched::set_affinity(&only).context("sched_setaffinity")?;
                let set = sched::affinity().context("sched_getaffinity")?;
                ensure!(set == only, "the affinity set is another one");
                match sched::current_cpu() {
                    Err(Errno::ENOSYS) => {}
                    here => {
                        let here = here.context("getcpu")?;
                        ensure!(here == cpu, "on CPU {here} instead of {cpu}");
                    }
                }
            }
            Ok(())
        };
        threads.push(thread::spawn(walk).context("clone")?);
    }
    for thread in threads {
        thread.join().unwrap_or(Ok(()))?;
    }
    Ok(())
}

fn sleep_forever() -> ! {
    let never = AtomicU32::new(0);
    loop {
        let _ = futex::wait(&never, 0, None);
    }
}
