//! `bench [NAME]`: what common operations cost: time, IPIs, writes of the PID register, TLB
//! invalidations, each per operation.
//!
//! For the monitor. A NAME is the beginning of some rows' names. Under `ICOUNT=0` an instruction of any
//! CPU takes a nanosecond, so the time is a count of instructions. `user/c/bench` has more rows, and
//! is what `make bench` compares with Linux.
#![no_std]
#![no_main]

extern crate alloc;

use alloc::string::String;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, Ordering};
use core::time::Duration;

use user::memory::{self, PAGE, Protection, Region};
use user::process::{self, Status};
use user::sched::{self, CpuSet};
use user::verdict::child_ends;
use user::{Context, Env, Verdict, ensure, file, futex, kinds, print, println, thread, time};

user::main!(main);

/// A row: its name, how many CPUs it needs, and the function that measures it.
type Row = (&'static str, usize, fn(&mut Bench<'_>) -> Verdict);

const ROWS: [Row; 9] = [
    ("getppid", 1, |bench| {
        bench.each(500, || {
            let _ = process::getppid();
            Ok(())
        })
    }),
    ("mprotect", 1, mprotect),
    ("munmap", 1, |bench| {
        bench.each(100, || {
            Region::new(1).context("mmap")?.touch(1);
            Ok(())
        })
    }),
    ("pipe_1cpu", 1, |bench| pipe(bench, bench.cpus[0])),
    ("pipe_2cpus", 2, |bench| pipe(bench, bench.cpus[1])),
    ("fork_exit", 1, |bench| bench.each(20, || child_ends("a child", Status::exit(0), || 0))),
    ("thread", 1, |bench| bench.each(20, || thread::spawn(|| ()).map(drop).context("clone"))),
    ("exit_lazy", 2, |bench| exit(bench, false)),
    ("exit_parked", 2, |bench| exit(bench, true)),
];

fn main(env: &Env) -> i32 {
    let wanted = env.arg(1).unwrap_or("");
    let rows: Vec<&Row> = ROWS.iter().filter(|row| row.0.starts_with(wanted)).collect();
    if rows.is_empty() {
        let names: Vec<&str> = ROWS.iter().map(|row| row.0).collect();
        println!("bench: no row begins with {wanted}: there are {}", names.join(", "));
        return 2;
    }
    match measure(&rows) {
        Ok(()) => 0,
        Err(why) => {
            println!("bench: {why}");
            1
        }
    }
}

fn measure(rows: &[&Row]) -> Verdict {
    let cpus: Vec<usize> = sched::affinity().context("sched_getaffinity")?.iter().collect();
    sched::set_affinity(&CpuSet::only(cpus[0])).context("sched_setaffinity")?;
    println!("{:<12} {:>10} {:>8} {:>8} {:>8}", "each", "ns", "IPIs", "PIDR", "TLB");
    for &&(name, least, run) in rows {
        if cpus.len() < least {
            println!("{name:<12} needs {least} CPUs");
            continue;
        }
        let mut bench = Bench { cpus: &cpus, count: 0, spent: Counts::default() };
        run(&mut bench).context(name)?;
        bench.print(name);
    }
    Ok(())
}

/// What has been counted since boot, or how much of it some operations took.
#[derive(Clone, Copy, Default)]
struct Counts {
    ns: u64,
    /// IPIs sent, writes of the PID register, TLB invalidations: of all CPUs.
    events: [u64; 3],
}

impl Counts {
    fn now() -> Result<Self, String> {
        let (mut events, mut line, mut bytes) = ([0; 3], Vec::new(), [0; 4096]);
        let report = file::open(c"/proc/lazy_tlb").context("/proc/lazy_tlb")?;
        loop {
            let len = report.read(&mut bytes).context("read")?;
            if len == 0 {
                break;
            }
            for &byte in &bytes[..len] {
                line.push(byte);
                if byte == b'\n' {
                    count_line(core::str::from_utf8(&line).unwrap_or(""), &mut events);
                    line.clear();
                }
            }
        }
        report.close().context("close")?;
        // The time last: what is measured follows.
        Ok(Counts { ns: time::now().as_nanos() as u64, events })
    }
}

/// Adds the last column of a line of the report, the sum of all CPUs.
fn count_line(line: &str, events: &mut [u64; 3]) {
    let kind = ["ipi_sent_", "pidr_writes", "tlbie"].iter().position(|kind| line.starts_with(kind));
    let total = line.split_ascii_whitespace().next_back().and_then(|word| word.parse::<u64>().ok());
    if let (Some(kind), Some(total)) = (kind, total) {
        events[kind] += total;
    }
}

/// A row as it is measured.
struct Bench<'a> {
    /// The first thread is bound to the first of them.
    cpus: &'a [usize],
    count: u64,
    spent: Counts,
}

impl Bench<'_> {
    /// Does an operation once, which is not counted, and then `count` times.
    fn each(&mut self, count: u64, mut operation: impl FnMut() -> Verdict) -> Verdict {
        operation()?;
        let before = Counts::now()?;
        for _ in 0..count {
            operation()?;
        }
        self.add(count, before)
    }

    /// Adds `count` operations, which began at `before` and have ended now.
    fn add(&mut self, count: u64, before: Counts) -> Verdict {
        self.spent.ns += time::now().as_nanos() as u64 - before.ns;
        let after = Counts::now()?;
        for (sum, (after, before)) in self.spent.events.iter_mut().zip(after.events.iter().zip(before.events))
        {
            *sum += after - before;
        }
        self.count += count;
        Ok(())
    }

    fn print(&self, name: &str) {
        print!("{name:<12} {:>10}", self.spent.ns / self.count);
        for sum in self.spent.events {
            let tenths = sum * 10 / self.count;
            print!(" {:>6}.{}", tenths / 10, tenths % 10);
        }
        println!("");
    }
}

/// Read-only and back, one page, and the write that faults after it.
fn mprotect(bench: &mut Bench<'_>) -> Verdict {
    let mut page = Region::new(1).context("mmap")?;
    bench.each(100, || {
        for protection in [Protection::READ, Protection::READ_WRITE] {
            // SAFETY: nothing refers to the region's bytes.
            unsafe { memory::protect(page.address(), PAGE, protection) }.context("mprotect")?;
        }
        page.touch(1);
        Ok(())
    })
}

/// A byte there and back, between two processes; the other one is on `cpu`.
fn pipe(bench: &mut Bench<'_>, cpu: usize) -> Verdict {
    let (from_us, to_them) = file::pipe().context("pipe2")?;
    let (from_them, to_us) = file::pipe().context("pipe2")?;
    let child = process::spawn(|| {
        let ready = to_them.close().and_then(|()| sched::set_affinity(&CpuSet::only(cpu)));
        while ready.is_ok() && from_us.read(&mut [0]) == Ok(1) {
            let _ = to_us.write(b"!");
        }
        i32::from(ready.is_err())
    });
    bench.each(100, || {
        to_them.write_all(b"!").context("write")?;
        ensure!(from_them.read(&mut [0]) == Ok(1), "the other side is gone");
        Ok(())
    })?;
    for end in [to_them, to_us, from_us, from_them] {
        end.close().context("close")?;
    }
    kinds::ends_with("the other side", Status::exit(0), child)
}

/// From the exit of a process to its parent's return from wait. Its threads have been on all CPUs: there they
/// are still `parked`, or gone, and the CPUs are lazy on their mm.
fn exit(bench: &mut Bench<'_>, parked: bool) -> Verdict {
    const MMAP: usize = 90;
    const ROUNDS: usize = 5;
    let shared = kinds::call(MMAP, [0, PAGE, 3, 0x21, usize::MAX, 0]).context("mmap")?;
    for round in 0..ROUNDS {
        let cpus = bench.cpus;
        let child = process::spawn(|| {
            // What is written here is copied before the threads come: a copy later would send lazy CPUs away.
            let ready = Counts::now().and_then(|_| threads_on(&cpus[1..], parked));
            let Ok(before) = ready.and_then(|()| Counts::now()) else { return 1 };
            // SAFETY: a page of the parent's, too, which reads it after this process's end.
            unsafe { (shared as *mut Counts).write(before) };
            0
        });
        kinds::ends_with("the process", Status::exit(0), child)?;
        // The first is not counted.
        if round > 0 {
            // SAFETY: a page that the child has filled; it has ended.
            bench.add(1, unsafe { (shared as *const Counts).read() })?;
        }
    }
    // SAFETY: nothing refers to the page.
    unsafe { memory::unmap(shared, PAGE) }.context("munmap")
}

/// A thread on each of the CPUs, which sleeps there for ever or has ended; all CPUs but the caller's are idle.
fn threads_on(cpus: &[usize], parked: bool) -> Verdict {
    static HERE: AtomicU32 = AtomicU32::new(0);
    static NEVER: AtomicU32 = AtomicU32::new(0);
    let all = cpus.len() as u32;
    for &cpu in cpus {
        let thread = thread::spawn(move || {
            let _ = sched::set_affinity(&CpuSet::only(cpu));
            HERE.fetch_add(1, Ordering::Relaxed);
            // A thread that ends now would wake its maker, or change memory, while stacks are still mapped.
            while HERE.load(Ordering::Relaxed) < all {
                sched::relax();
            }
            while parked && NEVER.load(Ordering::Relaxed) == 0 {
                let _ = futex::wait(&NEVER, 0, None);
            }
        });
        // Nobody joins it: its stack stays mapped.
        core::mem::forget(thread.context("clone")?);
    }
    time::sleep(Duration::from_millis(2)).context("nanosleep")
}
