//! The demonstration, and the default init: address spaces that die while other
//! CPUs borrow them lazily.
//!
//! Three scenes, one line each: threads on every CPU, a storm of forks and
//! execs, a kernel thread that works in our address space. At power-off the
//! kernel prints its lazy-TLB report.
#![no_std]
#![no_main]

extern crate alloc;

mod kernel_thread;
mod storm;
mod threads;

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use user::sched;
use user::{Context, Env, Verdict, println};

user::main!(main);

/// A scene: its report, or its error.
type Scene = fn(&[usize]) -> Result<String, String>;

fn main(_env: &Env) -> Verdict {
    let cpus: Vec<usize> = sched::affinity().context("sched_getaffinity")?.iter().collect();
    println!("demo: online CPUs: {}", cpus.len());

    let scenes: [(&str, Scene); 3] =
        [("threads", threads::run), ("storm", storm::run), ("kernel thread", kernel_thread::run)];
    for (name, run) in scenes {
        let done = run(&cpus).map_err(|why| format!("{name}: {why}"))?;
        println!("demo: {name}: {done}");
    }
    Ok(())
}
