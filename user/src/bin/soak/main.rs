//! `soak SEED ROUND [WORKERS [DEEDS]]`: random use of everything that touches
//! address spaces, each result checked.
//!
//! WORKERS processes (0, the default: two per CPU) each do DEEDS deeds. Each draws
//! them from the table below by a generator of its own, so SEED and ROUND repeat
//! each worker's deeds. How the workers meet repeats only on a machine that counts
//! instructions. In round 0 the workers share the table, and do every deed once.
//! Where CPUs can go offline, one more process sends them away and brings them back
//! meanwhile.
#![no_std]
#![no_main]

extern crate alloc;

mod hotplug;
mod kernel_threads;
mod mappings;
mod membarrier;
mod processes;
mod stale;
mod threads;

use alloc::vec::Vec;
use core::time::Duration;

use user::process::{self, Pid};
use user::random::Random;
use user::sched::{self, CpuSet};
use user::{Context, Env, Errno, Verdict, ensure, println, time};

user::main!(main);

const DEEDS: usize = 4;

/// One process of the soak.
struct Worker {
    random: Random,
    cpus: Vec<usize>,
    /// CPUs may go offline: a thread's CPU cannot be asserted.
    hotplug: bool,
}

type Deed = fn(&mut Worker) -> Verdict;

/// The deeds. A deed leaves nothing behind: no child, thread, mapping or descriptor,
/// and no affinity.
const TABLE: &[(&str, Deed)] = &[
    ("children", processes::children),
    ("a crowd that exits", processes::crowd),
    ("orphans", processes::orphans),
    ("a killed process", processes::killed),
    ("ends of a process with threads", processes::ends_with_threads),
    ("a pipe", processes::pipe),
    ("mappings", mappings::mappings),
    ("mprotect under a writer", stale::mprotect),
    ("munmap under a writer", stale::munmap),
    ("fork under a writer", stale::fork),
    ("threads", threads::gang),
    ("a futex barrier", threads::barrier),
    ("migration", threads::wander),
    ("use_mm", kernel_threads::use_mm),
    ("a process killed in use_mm", kernel_threads::killed_in_use_mm),
    ("an mm that is kept", kernel_threads::kept),
    ("membarrier", membarrier::asymmetric),
];

fn main(env: &Env) -> Verdict {
    let cpus: Vec<usize> = sched::affinity().context("sched_getaffinity")?.iter().collect();
    let (seed, round) = (env.number(1, 1) as u64, env.number(2, 1) as u64);
    let workers = match env.number(3, 0) {
        0 => 2 * cpus.len(),
        workers => workers,
    };
    let deeds = env.number(4, DEEDS);
    let random = Random::new(seed).part(round);

    let toggler = hotplug::start(&cpus, random.part(0))?;
    let mut pids: Vec<Pid> = Vec::new();
    for number in 1..=workers {
        let mut worker =
            Worker { random: random.part(number as u64), cpus: cpus.clone(), hotplug: toggler.is_some() };
        let work = || match worker.work(round, number, workers, deeds) {
            Ok(()) => 0,
            Err(why) => {
                println!("soak: seed {seed}, round {round}, worker {number}: {why}");
                1
            }
        };
        pids.push(process::spawn(work).context("fork")?);
    }
    let mut failed = 0;
    for pid in pids {
        failed += usize::from(!process::wait(pid).context("wait4")?.success());
    }
    if let Some(toggler) = toggler {
        toggler.finish()?;
    }
    ensure!(failed == 0, "{failed} of {workers} workers");
    let left = process::wait_any();
    ensure!(left == Err(Errno::ECHILD), "wait4 without children gave {left:?}");
    Ok(())
}

impl Worker {
    /// The deeds of worker `number` of `workers`, from 1.
    fn work(&mut self, round: u64, number: usize, workers: usize, deeds: usize) -> Verdict {
        if round == 0 {
            let mut share = TABLE.iter().skip(number - 1).step_by(workers);
            return share.try_for_each(|deed| self.do_one(deed));
        }
        for _ in 0..deeds {
            let index = self.random.below(TABLE.len());
            self.do_one(&TABLE[index])?;
        }
        Ok(())
    }

    fn do_one(&mut self, &(name, deed): &(&str, Deed)) -> Verdict {
        deed(self).context(name)
    }

    /// Any of the machine's CPUs.
    fn any_cpu(&mut self) -> usize {
        self.cpus[self.random.below(self.cpus.len())]
    }

    /// A nap of up to `most_us` microseconds.
    fn nap(&mut self, most_us: usize) -> Duration {
        Duration::from_micros(self.random.below(most_us) as u64)
    }
}

/// Sleeps; a signal may end it early.
fn sleep(time: Duration) {
    let _ = time::sleep(time);
}

/// Moves the calling thread to `cpu`. False if that CPU is offline.
fn move_to(cpu: usize) -> Result<bool, alloc::string::String> {
    match sched::set_affinity(&CpuSet::only(cpu)) {
        Err(Errno::EINVAL) => Ok(false),
        moved => moved.map(|()| true).context("sched_setaffinity"),
    }
}
