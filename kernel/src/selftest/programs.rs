//! Real programs from the initrd: their own checks, and that they leave nothing behind.

use alloc::vec::Vec;

use kcore::mm::MmId;

use super::address_space::{check_account, settled_account};
use super::soak::{Books, read_in};
use super::stage::drain_borrows;
use super::stage::in_us;
use super::{Stop, Test, Verdict, check, check_eq};
use crate::fs::path::Place;
use crate::machine::lazy_tlb;
use crate::memory::frame;
use crate::mm;
use crate::process::exit::Status;
use crate::process::{self, signal};
use crate::sync::preempt;
use crate::syscall;

pub(super) const TESTS: &[Test] = &[
    Test::new("program_exit_status", exit_status),
    Test::new("program_missing", missing),
    Test::new("program_killed_at_birth", killed_at_birth),
    Test::new("program_faults", || passes("/bin/faults", &[])),
    Test::new("program_fault_codes", || passes("/bin/faults", &["codes"])),
    Test::new("program_cow", || passes("/bin/cow", &[])),
    Test::new("program_mmaps", || passes("/bin/mmaps", &[])),
    Test { limit_s: 60, ..Test::new("program_besides", || passes("/bin/besides", &[])) },
    Test::new("program_memcalls", || passes("/bin/memcalls", &[])),
    Test::new("program_edges", edges),
    Test::new("program_limits", || passes("/bin/limits", &[])),
    Test::new("program_starved", starved),
    Test::new("program_system", || passes("/bin/system", &[])),
    Test::new("program_threads", || passes("/bin/threads", &[])),
    Test::new("program_futexes", || passes("/bin/futexes", &[])),
    Test::new("program_membarriers", || passes("/bin/membarriers", &[])),
    Test::new("program_pipes", || passes("/bin/pipes", &[])),
    Test { limit_s: 30, ..Test::new("program_files", || passes("/c/files_race", &[])) },
    Test { limit_s: 30, ..Test::new("program_locks", || passes("/c/files_locks", &[])) },
    Test::new("program_sharers", || passes("/bin/sharers", &[])),
    Test { limit_s: 60, ..Test::new("program_clones", || passes("/bin/clones", &[])) },
    Test { limit_s: 30, ..Test::new("program_sessions", || passes("/bin/sessions", &[])) },
    Test { limit_s: 30, ..Test::new("program_robust", || passes("/bin/robust", &[])) },
    Test { limit_s: 30, ..Test::new("program_handlers", || passes("/bin/handlers", &[])) },
    Test { limit_s: 30, ..Test::new("program_senders", || passes("/bin/senders", &[])) },
    Test { limit_s: 30, ..Test::new("program_execs", || passes("/bin/execs", &[])) },
    Test { limit_s: 20, ..Test::new("program_takers", || passes("/bin/takers", &[])) },
    Test { limit_s: 30, ..Test::new("program_signals", || passes("/bin/signals", &[])) },
    Test { limit_s: 30, ..Test::new("program_interrupted", || passes("/bin/interrupted", &[])) },
    Test { limit_s: 60, ..Test::new("program_hotplug", || passes("/bin/hotplug", &[])) },
    Test::new("program_registers", || passes("/bin/registers", &[])),
    Test { limit_s: 120, ..Test::new("program_storm_leaves_nothing", storm_leaves_nothing) },
    Test { limit_s: 60, ..Test::new("program_storm_in_few_pids", storm_in_few_pids) },
    Test { limit_s: 300, ..Test::new("program_sequences", sequences) },
];

/// Has a test skipped if there is no `path`.
fn needs(path: &str) -> Verdict {
    let found = Place::root().find(path, true);
    found.map(drop).map_err(|_| Stop::Skip("the initrd does not have the program or its file"))
}

/// Runs a program to its end. Returns its status as a shell shows it.
fn run(path: &str, arguments: &[&str]) -> Result<u32, alloc::string::String> {
    let mut argv = alloc::vec![path];
    argv.extend_from_slice(arguments);
    let process = process::launch(&argv, &[]).map_err(|_| "no memory for a program's stack")?;
    Ok(process.wait_dead().shell_code())
}

fn passes(path: &str, arguments: &[&str]) -> Verdict {
    needs(path)?;
    check_eq!(run(path, arguments)?, 0, alloc::format!("the status of {path}"));
    Ok(())
}

/// Every call with addresses at the edge: the program gets the numbers of all calls, and has to
/// know each.
fn edges() -> Verdict {
    let numbers: Vec<_> = syscall::numbers().map(|number| alloc::format!("{number}")).collect();
    let arguments: Vec<_> = numbers.iter().map(alloc::string::String::as_str).collect();
    passes("/bin/edges", &arguments)
}

/// Calls without memory. The program takes what is left here of it, and gives it back. Its first
/// run leaves what the kernel keeps: pages of files, and tables that became longer.
fn starved() -> Verdict {
    if lazy_tlb().nr_cpus() > 1 {
        return Err(Stop::Skip("slow, and no different on more CPUs"));
    }
    in_little_memory(|| passes("/bin/starved", &[]))?;
    let before = settled_account();
    in_little_memory(|| passes("/bin/starved", &[]))?;
    Ok(check_account(before, "calls without memory")?)
}

/// Runs `f` while few frames are free.
fn in_little_memory(f: impl FnOnce() -> Verdict) -> Verdict {
    const LEFT_FRAMES: u64 = 512;
    const BLOCK: u32 = 8;
    let mut held = Vec::with_capacity(frame::total_count() as usize >> BLOCK);
    while frame::has_spare(LEFT_FRAMES + (1 << BLOCK)) {
        let Some(block) = frame::alloc_order(BLOCK) else { break };
        held.push(block);
    }
    f()
}

fn exit_status() -> Verdict {
    needs("/bin/exits")?;
    for status in [0, 1, 7, 255] {
        check_eq!(run("/bin/exits", &[&alloc::format!("{status}")])?, status, "an exit status");
    }
    Ok(())
}

/// A signal that reaches a process before its first thread starts is not lost. So Ctrl-C right
/// after a command's Enter ends the command. The program never ends by itself, so the signal may be
/// late on a busy host.
fn killed_at_birth() -> Verdict {
    const PROGRAM: &str = "/bin/sleepers";
    needs(PROGRAM)?;
    for signal in [signal::SIGINT, signal::SIGKILL] {
        for _ in 0..10 {
            // On one CPU its first thread cannot run before the signal is sent.
            let stay = preempt::disable();
            let process = process::launch(&[PROGRAM], &[]).map_err(|_| "no memory for a stack")?;
            let pid = process.pid;
            signal::send_to_all(|one| one.pid == pid, Some(signal::Info::of_kernel(signal)));
            drop(stay);
            let limit_tb = in_us(10_000_000);
            let status = process.wait_dead_until(limit_tb);
            if status.is_none() {
                process.end(Status::signaled(signal::SIGKILL));
            }
            check_eq!(status.map(Status::shell_code), Some(128 + signal), "its status");
        }
    }
    Ok(())
}

fn missing() -> Verdict {
    check_eq!(run("/bin/no-such-program", &[])?, 127, "the status of a program that does not exist");
    Ok(())
}

/// After forks, execs and exits on all CPUs every frame, address space and PID is
/// back, once the last borrows are drained.
fn storm_leaves_nothing() -> Verdict {
    // The children grow with the CPUs, and the host runs few CPUs at a time.
    let (rounds, storms) = if lazy_tlb().nr_cpus() <= 16 { ("2", 3) } else { ("1", 1) };
    // A first run, for the pages that the kernel reads on demand.
    passes("/bin/storm", &["0", rounds])?;
    let state = || (living_mms(), lowest_free_pid());
    let (memory, before) = (settled_account(), state());
    for _ in 0..storms {
        passes("/bin/storm", &["0", rounds])?;
    }
    check_account(memory, "the storms")?;
    check_eq!(state(), before, "mms and lowest free PID after the storms");
    Ok(())
}

/// Processes fork and exec where almost all PIDs are in use, and idle CPUs have some more loaded: each waits
/// until there is one. The oracle watches that none is handed out that a CPU has loaded.
fn storm_in_few_pids() -> Verdict {
    /// The storm, its workers, and the children of these that exec: each of them needs one more.
    const LEAST: usize = 1 + 4 + 8 + 1;
    needs("/bin/storm")?;
    let pids = lazy_tlb().mms().len();
    if !frame::has_spare(pids as u64 * 24) {
        return Err(Stop::Skip("memory for all address spaces is missing"));
    }
    let mut held = Vec::with_capacity(pids);
    while let Ok(mm) = mm::create() {
        held.push(mm);
    }
    let put = |mm| lazy_tlb().mmput(mm);
    held.drain(held.len() - LEAST - lazy_tlb().nr_cpus()..).for_each(put);
    let status = run("/bin/storm", &["4", "5", "4"]);
    held.into_iter().for_each(put);
    check_eq!(status?, 0, "the status of a storm in few PIDs");
    Ok(())
}

/// What processes do with a few pages has Linux's results, step by step, and leaves nothing behind.
/// The file of steps is from qemu-scripts/sequences_runs.py.
fn sequences() -> Verdict {
    const FILE: &str = "/sequences";
    const PROGRAM: &str = "/bin/sequences";
    [PROGRAM, FILE].into_iter().try_for_each(needs)?;
    // A first run, for all that the kernel makes on demand, pages of the two files included.
    read_in(FILE)?;
    read_in(PROGRAM)?;
    passes(PROGRAM, &[FILE, "10"])?;
    let books = Books::settled()?;
    passes(PROGRAM, &[FILE])?;
    Ok(books.check()?)
}

pub(super) fn living_mms() -> usize {
    drain_borrows();
    lazy_tlb().mms().iter().filter(|mm| mm.id().is_some()).count()
}

pub(super) fn lowest_free_pid() -> Result<u32, alloc::string::String> {
    let mm: MmId = super::address_space::new_mm()?;
    lazy_tlb().mmput(mm);
    drain_borrows();
    check!(mm.pid().get() > MmId::INIT_MM.pid().get(), "a user got PID {}", mm.pid().get());
    Ok(mm.pid().get())
}
