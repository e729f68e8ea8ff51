//! `besides [ROUNDS]`: page faults beside changes of the memory around them.
//!
//! Every page of a region belongs to a thread, page by page in turn, so all fault in one leaf table
//! side by side. A thread per CPU stores into its pages, finds what it has stored, and throws it
//! away. Meanwhile the first thread makes the pages between read-only, throws them away, unmaps
//! them, maps them anew, and forks, while all others have the kernel store into them. Checked: what
//! a thread has stored stays; nothing is stored where that is not allowed; new memory is zero.
#![no_std]
#![no_main]

extern crate alloc;

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;

use user::memory::{self, PAGE, Protection, Region};
use user::process::Status;
use user::sched::{self, CpuSet};
use user::sys::syscall;
use user::thread;
use user::verdict::child_ends;
use user::{Context, Env, Verdict, ensure, println, time};

user::main!(main);

/// The pages of each thread.
const PAGES: usize = 6;
/// Looks at a page that nobody may store into.
const LOOKS: usize = 30;
/// A host runs few CPUs at a time: more threads only take longer.
const MOST_THREADS: usize = 32;
/// Rounds of the first thread between two forks.
const ROUNDS_PER_FORK: usize = 4;
/// How long others may try to store into a page that is missing and read-only.
const TRIES: Duration = Duration::from_micros(400);

fn main(env: &Env) -> Verdict {
    let cpus: Vec<usize> = sched::affinity().context("sched_getaffinity")?.iter().collect();
    let threads = cpus.len().clamp(2, MOST_THREADS);
    let rounds = env.number(1, 6);
    let region = Region::new(PAGES * threads).context("mmap")?;
    let pages = move |owner: usize| {
        let start = region.address();
        (0..PAGES).map(move |page| start + (page * threads + owner) * PAGE)
    };
    let between: Vec<usize> = pages(0).collect();
    let done = Arc::new(AtomicBool::new(false));
    let mut workers = Vec::new();
    for index in 1..threads {
        let (own, between, done) = (pages(index).collect::<Vec<_>>(), between.clone(), done.clone());
        let cpu = cpus[index % cpus.len()];
        workers.push(thread::spawn(move || work(cpu, &own, &between, &done)).context("clone")?);
    }
    sched::set_affinity(&CpuSet::only(cpus[0])).context("sched_setaffinity")?;
    let result = (0..rounds).try_for_each(|round| change(round, &between));
    done.store(true, Ordering::Relaxed);
    let mut turns = 0;
    for worker in workers {
        turns += usize::from(worker.join().ok_or("a worker has no result")??);
    }
    result?;
    ensure!(turns >= threads, "a worker has not made a turn");
    println!("besides: ok");
    Ok(())
}

/// Stores into all `own` pages and throws them away, again and again, and into those `between`.
fn work(
    cpu: usize,
    own: &[usize],
    between: &[usize],
    done: &AtomicBool,
) -> Result<u8, alloc::string::String> {
    sched::set_affinity(&CpuSet::only(cpu)).context("sched_setaffinity")?;
    let mut turn = 1_u8;
    while !done.load(Ordering::Relaxed) {
        for (&page, &other) in own.iter().zip(between) {
            ensure!(memory::peek(page) == 0, "a new page at {page:#x} is not zero");
            // SAFETY: the page is ours.
            unsafe { memory::poke(page, turn) };
            store_by_kernel(other + cpu % 8 * 64);
        }
        for &page in own {
            ensure!(memory::peek(page) == turn, "what was stored at {page:#x} is lost");
            discard(page)?;
        }
        turn = turn % 255 + 1;
        // A lock whose holder comes back at once may stay out of reach for the one who waits for it.
        time::sleep(TRIES / 4).context("nanosleep")?;
    }
    Ok(turn)
}

fn protect(page: usize, protection: Protection) -> Verdict {
    // SAFETY: nobody relies on what is in the page.
    unsafe { memory::protect(page, PAGE, protection) }.context("mprotect")
}

fn discard(page: usize) -> Verdict {
    // SAFETY: nobody relies on what is in the page.
    unsafe { memory::discard(page, PAGE) }.context("madvise")
}

/// Has the kernel store something else each time at `address`, if it may.
fn store_by_kernel(address: usize) {
    const CLOCK_GETTIME: usize = 246;
    const MONOTONIC: usize = 1;
    // SAFETY: nobody relies on what is there.
    let _ = unsafe { syscall(CLOCK_GETTIME, [MONOTONIC, address, 0, 0, 0, 0]) };
}

/// One round of changes.
fn change(round: usize, between: &[usize]) -> Verdict {
    // The next pages wait meanwhile: threads that store there fault in the same table.
    let page = between[round % between.len()];
    protect(page, Protection::READ)?;
    stays(page, "a read-only page")?;
    discard(page)?;
    time::sleep(TRIES).context("nanosleep")?;
    ensure!(stays(page, "a read-only page that was thrown away")? == [0; 8], "it is not zero");
    protect(page, Protection::READ_WRITE)?;
    store_by_kernel(page);
    // SAFETY: nobody relies on what is in the page.
    unsafe { memory::unmap(page, PAGE) }.context("munmap")?;
    memory::map_at(page, PAGE, Protection::READ).context("mmap")?;
    time::sleep(TRIES).context("nanosleep")?;
    ensure!(stays(page, "a new read-only page")? == [0; 8], "it is not zero");
    protect(page, Protection::READ_WRITE)?;
    if round.is_multiple_of(ROUNDS_PER_FORK) {
        child_ends("a fork beside faults", Status::exit(0), || 0)?;
    }
    Ok(())
}

/// The bytes that the other threads store in `page`; they must not change for a while.
fn stays(page: usize, what: &str) -> Result<[u8; 8], alloc::string::String> {
    let look = || core::array::from_fn(|cpu| memory::peek(page + cpu * 64 + 15));
    let first: [u8; 8] = look();
    for _ in 0..LOOKS {
        ensure!(look() == first, "{what} at {page:#x} has changed");
    }
    Ok(first)
}
