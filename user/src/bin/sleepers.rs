//! `sleepers`: a thread on every CPU that sleeps until the machine ends.
//!
//! Every CPU is idle then, and lazy on this program's address space. The
//! kernel stands still by itself, for a debugger.
#![no_std]
#![no_main]

extern crate alloc;

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, Ordering};

use user::sched::{self, CpuSet};
use user::sync::Barrier;
use user::thread::{self, Thread};
use user::{Context, Env, Verdict, futex, println};

user::main!(main);

fn main(_: &Env) -> Verdict {
    let cpus: Vec<usize> = sched::affinity().context("sched_getaffinity")?.iter().collect();
    let all_here = Arc::new(Barrier::new(cpus.len() + 1));
    let mut threads: Vec<Thread<Verdict>> = Vec::new();
    for &cpu in &cpus {
        let all_here = all_here.clone();
        let thread = thread::spawn(move || {
            sched::set_affinity(&CpuSet::only(cpu)).context("sched_setaffinity")?;
            all_here.wait();
            sleep_for_ever()
        });
        threads.push(thread.context("clone")?);
    }
    all_here.wait();
    println!("sleepers: {} threads sleep", cpus.len());
    sleep_for_ever()
}

fn sleep_for_ever() -> Verdict {
    let never = AtomicU32::new(0);
    while never.load(Ordering::Relaxed) == 0 {
        // Nothing wakes this; a signal might end one wait.
        let _ = futex::wait(&never, 0, None);
    }
    Ok(())
}
