//! `hotplug [ROUNDS]`: takes every CPU but the first, of 32 at most, offline and back, through
//! /sys/devices/system/cpu, while a thread on each works in this address space.
#![no_std]
#![no_main]

extern crate alloc;

use alloc::ffi::CString;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use user::memory::Region;
use user::sched::{self, CpuSet};
use user::thread::{self, Thread};
use user::verdict::format;
use user::{Context, Env, Errno, Verdict, ensure, file, println};

user::main!(main);

/// A host runs few CPUs at a time: threads on more only take longer.
const MOST_CPUS: usize = 32;

fn main(env: &Env) -> Verdict {
    if user::verdict::on_foreign_kernel() {
        println!("hotplug: not on a host");
        return Ok(());
    }
    let rounds = env.number(1, 3);
    let everywhere = sched::affinity().context("sched_getaffinity")?;
    let cpus: Vec<usize> = everywhere.iter().take(MOST_CPUS).collect();
    refusals()?;
    let stop = Arc::new(AtomicBool::new(false));
    let turns = Arc::new(AtomicU32::new(0));
    let mut threads: Vec<Thread<Verdict>> = Vec::new();
    for &cpu in &cpus {
        let (stop, turns) = (stop.clone(), turns.clone());
        threads.push(thread::spawn(move || work(cpu, &stop, &turns)).context("clone")?);
    }
    let toggled = (0..rounds).try_for_each(|_| {
        cpus[1..].iter().try_for_each(|&cpu| {
            toggle(cpu, &turns)?;
            sched::set_affinity(&everywhere).context("sched_setaffinity")
        })
    });
    stop.store(true, Ordering::Release);
    for thread in threads {
        thread.join().ok_or("a thread was lost")??;
    }
    toggled?;
    let back = sched::affinity().context("sched_getaffinity")?.count();
    ensure!(back == everywhere.count(), "{back} CPUs are online at the end, not {}", everywhere.count());
    println!("hotplug: {} CPUs, {rounds} rounds", cpus.len());
    Ok(())
}

/// The writes that Linux refuses, for a CPU that stays online.
fn refusals() -> Verdict {
    ensure!(read(0)? == *b"1\n", "CPU 0 is not online");
    ensure!(write(0, b"0\n") == Err(Errno::EBUSY), "CPU 0 may go offline");
    ensure!(write(0, b"x") == Err(Errno::EINVAL), "cpu0/online takes what is no number");
    ensure!(write(0, b"1\n") == Ok(2), "CPU 0 cannot be online twice");
    Ok(())
}

fn path(cpu: usize) -> CString {
    CString::new(format!("/sys/devices/system/cpu/cpu{cpu}/online")).expect("no zero in it")
}

fn read(cpu: usize) -> Result<[u8; 2], alloc::string::String> {
    let mut state = [0; 2];
    let switch = file::open(&path(cpu)).context("open")?;
    let count = switch.read_full(&mut state).context("read");
    switch.close().context("close")?;
    ensure!(count? == 2, "cpu{cpu}/online is too short");
    Ok(state)
}

fn write(cpu: usize, state: &[u8]) -> Result<usize, Errno> {
    let switch = file::open_for_writing(&path(cpu))?;
    let count = switch.write(state);
    switch.close()?;
    count
}

/// Takes a CPU offline and back, and ends on it. The threads work on meanwhile.
fn toggle(cpu: usize, turns: &AtomicU32) -> Verdict {
    ensure!(write(cpu, b"0\n").context("offline")? == 2, "a short write");
    ensure!(read(cpu)? == *b"0\n", "CPU {cpu} is online after it went");
    let others = sched::affinity().context("sched_getaffinity")?;
    ensure!(others.iter().all(|other| other != cpu), "CPU {cpu} is offline and in the affinity");
    let refused = sched::set_affinity(&CpuSet::only(cpu));
    ensure!(refused == Err(Errno::EINVAL), "a thread may go to CPU {cpu}, which is offline");
    let before = turns.load(Ordering::Acquire);
    while turns.load(Ordering::Acquire) == before {
        sched::yield_now();
    }
    ensure!(write(cpu, b"1\n").context("online")? == 2, "a short write");
    ensure!(read(cpu)? == *b"1\n", "CPU {cpu} is offline after it came");
    sched::set_affinity(&CpuSet::only(cpu)).context("sched_setaffinity to a CPU that is back")?;
    ensure!(sched::current_cpu() == Ok(cpu), "not on CPU {cpu}");
    Ok(())
}

/// Begins on `cpu` and touches its memory and new mappings.
fn work(cpu: usize, stop: &AtomicBool, turns: &AtomicU32) -> Verdict {
    // The CPU may be offline already; then the thread begins elsewhere.
    let _ = sched::set_affinity(&CpuSet::only(cpu));
    let mut mark = 1;
    while !stop.load(Ordering::Acquire) {
        let mut region = Region::new(4).context("mmap")?;
        region.touch(mark);
        sched::yield_now();
        ensure!(region.touched_with(mark), "memory lost its contents");
        mark = mark.wrapping_add(1).max(1);
        turns.fetch_add(1, Ordering::Release);
    }
    Ok(())
}
