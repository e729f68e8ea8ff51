//! `storm [WORKERS [ROUNDS [CHILDREN]]]`: a storm of forks and execs.
//!
//! WORKERS processes (0, the default: one per CPU), spread over the CPUs, go
//! ROUNDS times: make CHILDREN children at once, half of which become
//! `/bin/true`, while the others write to every page of a copied region and exit;
//! then wait for them all. Where address spaces run short, they wait for those that end.
#![no_std]
#![no_main]

extern crate alloc;

use alloc::vec::Vec;
use core::convert::Infallible;

use user::memory::Region;
use user::process::{self, Pid, Status};
use user::sched::{self, CpuSet};
use user::{Context, Env, Errno, Verdict, ensure, println};

user::main!(main);

const PAGES: usize = 16;

fn main(env: &Env) -> Verdict {
    let cpus: Vec<usize> = sched::affinity().context("sched_getaffinity")?.iter().collect();
    let workers = match env.number(1, 0) {
        0 => cpus.len(),
        workers => workers,
    };
    let (rounds, children) = (env.number(2, 10), env.number(3, 4));

    let mut pids: Vec<Pid> = Vec::new();
    for index in 0..workers {
        let cpu = cpus[index % cpus.len()];
        let pid = process::spawn(|| match worker(cpu, rounds, children) {
            Ok(()) => 0,
            Err(why) => {
                println!("storm: worker {index}: {why}");
                1
            }
        });
        pids.push(pid.context("fork")?);
    }
    for pid in pids {
        let status = process::wait(pid).context("wait4")?;
        ensure!(status.success(), "a worker ended with {status}");
    }
    println!("storm: {} children", workers * rounds * children);
    Ok(())
}

/// Tries `f` until it is not refused for now, or has been too often.
fn patiently<T>(mut f: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    for _ in 0..100_000 {
        match f() {
            Err(Errno::EAGAIN) => sched::yield_now(),
            answer => return answer,
        }
    }
    Err(Errno::EAGAIN)
}

fn worker(cpu: usize, rounds: usize, children: usize) -> Verdict {
    // The worker starts on its CPU; the scheduler may move its children.
    let everywhere = sched::affinity().context("sched_getaffinity")?;
    sched::set_affinity(&CpuSet::only(cpu)).context("sched_setaffinity")?;
    sched::set_affinity(&everywhere).context("sched_setaffinity")?;
    let mut region = Region::new(PAGES).context("mmap")?;
    region.touch(1);
    for _ in 0..rounds {
        for child in 0..children {
            let mut child = || {
                if child % 2 == 0 {
                    let Err(why) =
                        patiently(|| Err::<Infallible, _>(process::exec(c"/bin/true", &[c"true"], &[])));
                    println!("storm: /bin/true: {why}");
                    return 127;
                }
                let mark = child as u8 + 2;
                region.touch(mark);
                i32::from(!region.touched_with(mark))
            };
            patiently(|| process::spawn(&mut child)).context("fork")?;
        }
        for _ in 0..children {
            let (_, status) = process::wait_any().context("wait4")?;
            ensure!(status == Status::exit(0), "a child ended with {status}");
        }
        ensure!(region.touched_with(1), "a child wrote to its parent's memory");
    }
    let left = process::wait_any();
    ensure!(left == Err(user::Errno::ECHILD), "wait4 without children gave {left:?}");
    Ok(())
}
