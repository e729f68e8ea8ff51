//! `bench [SCALE [NAME]]`: the cost of the kernel's common paths, in ns per
//! operation.
//!
//! Meant for a deterministic run, where the clock counts instructions; under
//! `qemu-ppc64` or an ordinary run the numbers say little. SCALE multiplies the
//! repetitions. With NAME only the operations run whose names contain it.
#![no_std]
#![no_main]

extern crate alloc;

use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, Ordering};

use user::file;
use user::membarrier::{Command, membarrier};
use user::memory::{PAGE, Protection, Region, protect};
use user::process::{self, exit_group};
use user::sched::{self, CpuSet};
use user::sync::Barrier;
use user::{Context, Env, Verdict, ensure, futex, println, thread, time};

user::main!(main);

fn main(env: &Env) -> Verdict {
    let scale = env.number(1, 1);
    let wanted = env.arg(2).unwrap_or("");
    let cpus: Vec<usize> = sched::affinity().context("sched_getaffinity")?.iter().collect();
    sched::set_affinity(&CpuSet::only(cpus[0])).context("sched_setaffinity")?;
    let operations = OPERATIONS.iter().filter(|operation| operation.name.contains(wanted));
    for operation in operations.filter(|operation| cpus.len() >= operation.cpus) {
        (operation.measure)(&Bench { name: operation.name, count: operation.count * scale, cpus: &cpus })?;
    }
    Ok(())
}

/// Something to measure.
struct Operation {
    name: &'static str,
    /// The repetitions, with a SCALE of 1.
    count: usize,
    /// How many CPUs it needs.
    cpus: usize,
    measure: fn(&Bench<'_>) -> Verdict,
}

const fn operation(
    name: &'static str,
    count: usize,
    cpus: usize,
    measure: fn(&Bench<'_>) -> Verdict,
) -> Operation {
    Operation { name, count, cpus, measure }
}

const OPERATIONS: &[Operation] = &[
    operation("null_syscall", 1000, 1, null_syscall),
    operation("mmap_touch_munmap", 200, 1, mmap_touch_munmap),
    operation("page_fault", 256, 1, page_faults),
    operation("mprotect_page", 100, 1, mprotect_page),
    operation("mprotect_16m", 1, 1, mprotect_large),
    operation("munmap_16m", 1, 1, munmap_large),
    operation("fork_exit_wait", 20, 1, |bench| bench.each(|| child(|| 0))),
    operation("fork_exec_wait", 20, 1, |bench| bench.each(|| child(become_true))),
    operation("thread_start_join", 50, 1, thread_start_join),
    operation("pipe_round_trip_same_cpu", 200, 1, |bench| pipe_round_trip(bench, bench.here())),
    operation("futex_round_trip_same_cpu", 200, 1, |bench| futex_round_trip(bench, bench.here())),
    operation("pipe_round_trip_two_cpus", 200, 2, |bench| pipe_round_trip(bench, bench.there())),
    operation("futex_round_trip_two_cpus", 200, 2, |bench| futex_round_trip(bench, bench.there())),
    operation("membarrier_all_busy", 100, 2, membarrier_all_busy),
    operation("exit_all_cpus_lazy", 10, 2, |bench| bench.each(|| exit_all_lazy(bench.cpus))),
];

/// One measurement.
struct Bench<'a> {
    name: &'a str,
    count: usize,
    cpus: &'a [usize],
}

impl Bench<'_> {
    /// The CPU that we are bound to.
    fn here(&self) -> usize {
        self.cpus[0]
    }

    /// Another CPU, if there is one.
    fn there(&self) -> usize {
        self.cpus[self.cpus.len() - 1]
    }

    /// Repeats `operation` and prints its average cost.
    fn each(&self, mut operation: impl FnMut() -> Verdict) -> Verdict {
        // Once unmeasured: page faults of code and data are not the subject.
        operation()?;
        let start = begin();
        for _ in 0..self.count {
            operation()?;
        }
        self.print_since(start);
        Ok(())
    }

    /// Prints the average cost of the operations since `start`.
    fn print_since(&self, start: core::time::Duration) {
        let end = time::now();
        // SAFETY: moves a register to itself.
        unsafe { core::arch::asm!("and 31, 31, 31", options(nostack)) };
        println!("{} {}", self.name, (end - start).as_nanos() / self.count.max(1) as u128);
    }
}

/// The time, and for `make profile` the mark where the region begins that `print_since` ends.
fn begin() -> core::time::Duration {
    // SAFETY: moves a register to itself.
    unsafe { core::arch::asm!("and 30, 30, 30", options(nostack)) };
    time::now()
}

fn null_syscall(bench: &Bench<'_>) -> Verdict {
    bench.each(|| {
        let _ = process::getppid();
        Ok(())
    })
}

fn mmap_touch_munmap(bench: &Bench<'_>) -> Verdict {
    bench.each(|| {
        Region::new(1).context("mmap")?.touch(1);
        Ok(())
    })
}

fn page_faults(bench: &Bench<'_>) -> Verdict {
    let mut region = Region::new(bench.count).context("mmap")?;
    let start = begin();
    region.touch(1);
    bench.print_since(start);
    Ok(())
}

/// Read-only and back, and the write that faults after it.
fn mprotect_page(bench: &Bench<'_>) -> Verdict {
    let mut page = Region::new(1).context("mmap")?;
    bench.each(|| {
        mprotect(&page)?;
        page.touch(1);
        Ok(())
    })
}

fn mprotect_large(bench: &Bench<'_>) -> Verdict {
    let region = large_region()?;
    bench.each(|| mprotect(&region))
}

fn munmap_large(bench: &Bench<'_>) -> Verdict {
    let mut regions = Vec::new();
    for _ in 0..bench.count {
        regions.push(large_region()?);
    }
    let start = begin();
    drop(regions);
    bench.print_since(start);
    Ok(())
}

/// 16 MB, populated.
fn large_region() -> Result<Region, alloc::string::String> {
    let mut region = Region::new((16 << 20) / PAGE).context("mmap")?;
    region.touch(1);
    Ok(region)
}

/// Takes the right to write away, and gives it back.
fn mprotect(region: &Region) -> Verdict {
    for protection in [Protection::READ, Protection::READ_WRITE] {
        // SAFETY: nothing refers to the region's bytes.
        unsafe { protect(region.address(), region.len(), protection) }.context("mprotect")?;
    }
    Ok(())
}

/// membarrier(2), private and expedited, while a thread runs on every other CPU.
fn membarrier_all_busy(bench: &Bench<'_>) -> Verdict {
    static OVER: AtomicU32 = AtomicU32::new(0);
    let everyone: &'static Barrier =
        alloc::boxed::Box::leak(alloc::boxed::Box::new(Barrier::new(bench.cpus.len())));
    let spin = |cpu| {
        move || {
            let moved = sched::set_affinity(&CpuSet::only(cpu));
            everyone.wait();
            while OVER.load(Ordering::Relaxed) == 0 {
                sched::relax();
            }
            moved.context("sched_setaffinity")
        }
    };
    let spinners: Result<Vec<_>, _> = bench.cpus[1..].iter().map(|&cpu| thread::spawn(spin(cpu))).collect();
    let spinners = spinners.context("clone")?;
    membarrier(Command::REGISTER_PRIVATE_EXPEDITED).context("membarrier")?;
    everyone.wait();
    bench.each(|| membarrier(Command::PRIVATE_EXPEDITED).map(drop).context("membarrier"))?;
    OVER.store(1, Ordering::Relaxed);
    spinners.into_iter().try_for_each(|spinner| spinner.join().unwrap_or(Ok(())))
}

fn child(work: impl FnOnce() -> i32) -> Verdict {
    let pid = process::spawn(work).context("fork")?;
    let status = process::wait(pid).context("wait4")?;
    ensure!(status.success(), "a child ended with {status}");
    Ok(())
}

fn become_true() -> i32 {
    process::exec(c"/bin/true", &[c"true"], &[]).0
}

fn thread_start_join(bench: &Bench<'_>) -> Verdict {
    bench.each(|| {
        let thread = thread::spawn(|| ()).context("clone")?;
        ensure!(thread.join().is_some(), "a thread was lost");
        Ok(())
    })
}

/// A byte there and back, between two processes; the other one is on `cpu`.
fn pipe_round_trip(bench: &Bench<'_>, cpu: usize) -> Verdict {
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
    bench.each(|| {
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
fn futex_round_trip(bench: &Bench<'_>, cpu: usize) -> Verdict {
    static TURN: AtomicU32 = AtomicU32::new(0);
    const OURS: u32 = 0;
    const THEIRS: u32 = 1;
    const OVER: u32 = 2;
    // Acquire and release around a turn, like those of a lock.
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
    bench.each(|| {
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
