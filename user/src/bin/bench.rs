//! `bench [SCALE]`: what the kernel's common paths cost, in ns per operation.
//!
//! Meant for a deterministic run, where the clock counts instructions; under
//! `qemu-ppc64` or an ordinary run the numbers say little. SCALE multiplies the
//! repetitions.
#![no_std]
#![no_main]

extern crate alloc;

use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, Ordering};

use user::file;
use user::memory::{PAGE, Protection, Region, map, unmap};
use user::process::{self, exit_group};
use user::sched::{self, CpuSet};
use user::sync::Barrier;
use user::{Context, Env, Verdict, ensure, futex, println, thread, time};

user::main!(main);

fn main(env: &Env) -> Verdict {
    let scale = env.number(1, 1);
    let cpus: Vec<usize> = sched::affinity().context("sched_getaffinity")?.iter().collect();
    let (here, there) = (cpus[0], cpus[cpus.len() - 1]);
    sched::set_affinity(&CpuSet::only(here)).context("sched_setaffinity")?;

    measure("null_syscall", 1000 * scale, || {
        let _ = process::getppid();
        Ok(())
    })?;
    measure("mmap_munmap", 200 * scale, mmap_munmap)?;
    page_faults(256 * scale)?;
    measure("fork_exit_wait", 20 * scale, || child(|| 0))?;
    measure("fork_exec_wait", 20 * scale, || child(|| process::exec(c"/bin/true", &[c"true"], &[]).0))?;
    measure("thread_start_join", 50 * scale, || {
        let thread = thread::spawn(|| ()).context("clone")?;
        ensure!(thread.join().is_some(), "a thread was lost");
        Ok(())
    })?;
    pipe_round_trip("pipe_round_trip_same_cpu", 200 * scale, here)?;
    futex_round_trip("futex_round_trip_same_cpu", 200 * scale, here)?;
    if there != here {
        pipe_round_trip("pipe_round_trip_two_cpus", 200 * scale, there)?;
        futex_round_trip("futex_round_trip_two_cpus", 200 * scale, there)?;
        measure("exit_all_cpus_lazy", 10 * scale, || exit_all_lazy(&cpus))?;
    }
    Ok(())
}

/// Runs `operation` `count` times and prints its name and ns each.
fn measure(name: &str, count: usize, mut operation: impl FnMut() -> Verdict) -> Verdict {
    // Once unmeasured: page faults of code and data are not the subject.
    operation()?;
    let start = time::now();
    for _ in 0..count {
        operation()?;
    }
    print_each(name, count, start);
    Ok(())
}

fn print_each(name: &str, count: usize, start: core::time::Duration) {
    let each = (time::now() - start).as_nanos() / count.max(1) as u128;
    println!("{name} {each}");
}

fn mmap_munmap() -> Verdict {
    let address = map(16 * PAGE, Protection::READ_WRITE).context("mmap")?;
    // SAFETY: just mapped, nothing refers to it.
    unsafe { unmap(address as usize, 16 * PAGE) }.context("munmap")
}

fn page_faults(count: usize) -> Verdict {
    let mut region = Region::new(count).context("mmap")?;
    let start = time::now();
    region.touch(1);
    print_each("page_fault", count, start);
    Ok(())
}

fn child(work: impl FnOnce() -> i32) -> Verdict {
    let pid = process::spawn(work).context("fork")?;
    let status = process::wait(pid).context("wait4")?;
    ensure!(status.success(), "a child ended with {status}");
    Ok(())
}

/// A byte there and back, between two processes; the other one is on `cpu`.
fn pipe_round_trip(name: &str, count: usize, cpu: usize) -> Verdict {
    let (from_us, to_them) = file::pipe().context("pipe2")?;
    let (from_them, to_us) = file::pipe().context("pipe2")?;
    let pid = process::spawn(|| {
        let _ = to_them.close();
        let mut byte = [0];
        let moved = sched::set_affinity(&CpuSet::only(cpu));
        while moved.is_ok() && from_us.read(&mut byte) == Ok(1) {
            let _ = to_us.write(&byte);
        }
        i32::from(moved.is_err())
    })
    .context("fork")?;
    to_us.close().context("close")?;
    measure(name, count, || {
        to_them.write_all(b"!").context("write")?;
        let count = from_them.read(&mut [0]).context("read")?;
        ensure!(count == 1, "the other side is gone");
        Ok(())
    })?;
    for end in [to_them, from_us, from_them] {
        end.close().context("close")?;
    }
    let status = process::wait(pid).context("wait4")?;
    ensure!(status.success(), "the other side ended with {status}");
    Ok(())
}

/// A turn there and back, between two threads; the other one is on `cpu`.
fn futex_round_trip(name: &str, count: usize, cpu: usize) -> Verdict {
    static TURN: AtomicU32 = AtomicU32::new(0);
    const OURS: u32 = 0;
    const THEIRS: u32 = 1;
    const OVER: u32 = 2;
    // Acquire and release around a turn, as a lock would have it.
    fn await_turn(turn: u32) -> u32 {
        loop {
            let now = TURN.load(Ordering::Acquire);
            if now == turn || now == OVER {
                return now;
            }
            let _ = futex::wait(&TURN, now, None);
        }
    }
    fn pass(turn: u32) {
        TURN.store(turn, Ordering::Release);
        futex::wake(&TURN, 1);
    }

    TURN.store(OURS, Ordering::Relaxed);
    let other = thread::spawn(move || {
        sched::set_affinity(&CpuSet::only(cpu)).context("sched_setaffinity")?;
        while await_turn(THEIRS) != OVER {
            pass(OURS);
        }
        Ok(())
    })
    .context("clone")?;
    measure(name, count, || {
        pass(THEIRS);
        await_turn(OURS);
        Ok(())
    })?;
    pass(OVER);
    other.join().unwrap_or(Ok(()))
}

/// A process with a sleeping thread on every CPU exits: each is lazy on its mm.
fn exit_all_lazy(cpus: &[usize]) -> Verdict {
    child(|| {
        static BED: AtomicU32 = AtomicU32::new(0);
        let everyone: &'static Barrier =
            alloc::boxed::Box::leak(alloc::boxed::Box::new(Barrier::new(cpus.len())));
        for &cpu in &cpus[1..] {
            let sleeper = thread::spawn(move || {
                let _ = sched::set_affinity(&CpuSet::only(cpu));
                everyone.wait();
                loop {
                    let _ = futex::wait(&BED, 0, None);
                }
            });
            if sleeper.is_err() {
                return 1;
            }
            core::mem::forget(sleeper);
        }
        everyone.wait();
        exit_group(0)
    })
}
