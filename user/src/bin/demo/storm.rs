//! Scene 2: a storm of forks and execs, on several CPUs at once.
//!
//! One worker per CPU (a handful at most) makes children that become
//! `/bin/true`, or exit at once, and waits for them. exec leaves the old
//! address space while the CPU still runs on it; exit leaves the new one behind.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use user::process::{self, Pid};
use user::sched::{self, CpuSet};
use user::{Context, Verdict, ensure, println};

const WORKERS: usize = 8;
const ROUNDS: usize = 6;

pub(crate) fn run(cpus: &[usize]) -> Result<String, String> {
    let workers = cpus.len().min(WORKERS);
    let mut pids: Vec<Pid> = Vec::new();
    for (index, &cpu) in cpus[..workers].iter().enumerate() {
        let next = cpus[(index + 1) % cpus.len()];
        let pid = process::spawn(|| match worker(cpu, next) {
            Ok(()) => 0,
            Err(why) => {
                println!("demo: worker {cpu}: {why}");
                1
            }
        });
        pids.push(pid.context("fork")?);
    }
    for pid in pids {
        let status = process::wait(pid).context("wait4")?;
        ensure!(status.success(), "a worker ended with {status}");
    }
    let children = workers * ROUNDS * 2;
    Ok(format!("{workers} workers made {children} children, half of them by exec"))
}

/// Works on `cpu`; the children that exec move to CPU `next` first, so that the
/// forked address space is left on two CPUs.
fn worker(cpu: usize, next: usize) -> Verdict {
    sched::set_affinity(&CpuSet::only(cpu)).context("sched_setaffinity")?;
    for round in 0..ROUNDS {
        let execs = process::spawn(|| {
            if let Err(why) = sched::set_affinity(&CpuSet::only(next)) {
                println!("demo: sched_setaffinity: {why}");
            }
            let why = process::exec(c"/bin/true", &[c"true"], &[]);
            println!("demo: /bin/true: {why}");
            127
        });
        let exits = process::spawn(|| round as i32);
        for (pid, expected) in [(execs, 0), (exits, round as i32)] {
            let status = process::wait(pid.context("fork")?).context("wait4")?;
            let expected = process::Status::exit(expected);
            ensure!(status == expected, "a child ended with {status}, not {expected}");
        }
    }
    Ok(())
}
