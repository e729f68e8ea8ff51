//! Scene 1: a process with a thread on every CPU, several times over.
//!
//! A thread that sleeps leaves its CPU idle, and lazy on the process's address
//! space. In odd rounds the threads end first, and each CPU idles on after its
//! own; in even rounds the process exits while they all sleep. Either way the
//! address space dies with borrowers on other CPUs. Each round runs in a child,
//! so it has an address space of its own.

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, Ordering};
use core::time::Duration;

use user::memory::Region;
use user::process::{Status, exit_group};
use user::sched::{self, CpuSet};
use user::sync::Barrier;
use user::thread::{self, Thread};
use user::verdict::child_ends;
use user::{Context, Verdict, ensure, futex, println, time};

const ROUNDS: usize = 6;
const PAGES: usize = 8;
const NAP: Duration = Duration::from_millis(2);

pub(crate) fn run(cpus: &[usize]) -> Result<String, String> {
    for round in 0..ROUNDS {
        child_ends("a round's process", Status::exit(0), || match one_round(cpus, round % 2 == 0) {
            Ok(()) => 0,
            Err(why) => {
                println!("demo: round {round}: {why}");
                1
            }
        })?;
    }
    Ok(format!("{ROUNDS} address spaces, each with a thread on every CPU, have come and gone"))
}

fn one_round(cpus: &[usize], asleep: bool) -> Verdict {
    // The main thread waits too: then every thread is on its CPU.
    let all_here = Arc::new(Barrier::new(cpus.len() + 1));
    let mut threads: Vec<Thread<Verdict>> = Vec::new();
    for &cpu in cpus {
        let all_here = all_here.clone();
        let thread = thread::spawn(move || one_thread(cpu, &all_here, asleep));
        threads.push(thread.context("clone")?);
    }
    all_here.wait();
    if asleep {
        // Long enough for them to fall asleep, as a rule; this cannot be checked
        // from here.
        time::sleep(NAP).context("clock_nanosleep")?;
        exit_group(0);
    }
    for thread in threads {
        thread.join().unwrap_or(Ok(()))?;
    }
    Ok(())
}

fn one_thread(cpu: usize, all_here: &Barrier, asleep: bool) -> Verdict {
    sched::set_affinity(&CpuSet::only(cpu)).context("sched_setaffinity")?;
    let mark = cpu as u8 + 1;
    let mut region = Region::new(PAGES).context("mmap")?;
    region.touch(mark);
    all_here.wait();
    if asleep {
        // Until the process exits: nothing wakes this.
        let never = AtomicU32::new(0);
        while never.load(Ordering::Relaxed) == 0 {
            let _ = futex::wait(&never, 0, None);
        }
    }
    time::sleep(NAP).context("clock_nanosleep")?;
    ensure!(region.touched_with(mark), "memory changed while CPU {cpu} slept");
    Ok(())
}
