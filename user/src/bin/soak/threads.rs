//! Threads: a counter, a barrier, and one that wanders over the CPUs.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicUsize, Ordering};

use user::sync::{Barrier, Mutex};
use user::thread::{self, Thread};
use user::{Context, Verdict, ensure, sched};

use super::{Worker, move_to, sleep};

/// The result of a thread that does not end on its own.
pub(crate) fn joined<R>(thread: Thread<R>) -> Result<R, String> {
    thread.join().ok_or_else(|| String::from("a thread's result was lost"))
}

/// Threads on random CPUs count under one lock.
pub(crate) fn gang(worker: &mut Worker) -> Verdict {
    let counter = Arc::new(Mutex::new(0));
    let (members, steps) = (worker.random.between(1, 6), worker.random.between(1, 60));
    let mut threads: Vec<Thread<Verdict>> = Vec::new();
    for _ in 0..members {
        let (counter, cpu, nap) = (counter.clone(), worker.any_cpu(), worker.nap(2000));
        let asleep_at = worker.random.below(steps * 2);
        let count = move || {
            move_to(cpu)?;
            for step in 0..steps {
                *counter.lock() += 1;
                if step == asleep_at {
                    sleep(nap);
                }
            }
            Ok(())
        };
        threads.push(thread::spawn(count).context("clone")?);
    }
    for thread in threads {
        joined(thread)??;
    }
    let total = *counter.lock();
    ensure!(total == members * steps, "{total} steps of {members} times {steps}");
    Ok(())
}

/// Threads that wait for each other, sleeping on futexes: no thread is ever
/// a round ahead.
pub(crate) fn barrier(worker: &mut Worker) -> Verdict {
    let (members, rounds) = (worker.random.between(2, 5), worker.random.between(1, 12));
    let shared = Arc::new((Barrier::new(members), AtomicUsize::new(0)));
    let mut threads: Vec<Thread<Verdict>> = Vec::new();
    for _ in 0..members {
        let (shared, cpu) = (shared.clone(), worker.any_cpu());
        let meet = move || {
            move_to(cpu)?;
            let mut verdict = Ok(());
            for round in 1..=rounds {
                shared.1.fetch_add(1, Ordering::Relaxed);
                shared.0.wait();
                let arrivals = shared.1.load(Ordering::Relaxed);
                if arrivals != round * members {
                    verdict =
                        Err(alloc::format!("{arrivals} arrivals in round {round} of {members} threads"));
                }
                // No thread arrives again before all have looked.
                shared.0.wait();
            }
            verdict
        };
        threads.push(thread::spawn(meet).context("clone")?);
    }
    for thread in threads {
        joined(thread)??;
    }
    Ok(())
}

/// A thread moves from CPU to CPU, and finds itself where it was sent.
pub(crate) fn wander(worker: &mut Worker) -> Verdict {
    for _ in 0..worker.random.between(1, 20) {
        let cpu = worker.any_cpu();
        if move_to(cpu)? && !worker.hotplug {
            let here = sched::current_cpu().context("getcpu")?;
            ensure!(here == cpu, "sent to CPU {cpu}, found on {here}");
        }
        if worker.random.one_in(4) {
            let nap = worker.nap(500);
            sleep(nap);
        }
    }
    sched::set_affinity(&worker.cpus.iter().copied().collect()).context("sched_setaffinity")
}
