//! Processes: made, changed, ended and waited for in every order.

use alloc::vec::Vec;
use core::sync::atomic::AtomicU32;
use core::time::Duration;

use user::file::{self, Fd};
use user::memory::Region;
use user::process::{self, Pid, SIGKILL, Status, exit_group};
use user::thread::{self, Thread};
use user::verdict::child_ends;
use user::{Context, Verdict, ensure, futex};

use super::{Worker, move_to, sleep};

/// Children that write to their copies, become other programs, have children or
/// sleep. Each ends as it should, and none touches its parent's memory.
pub(crate) fn children(worker: &mut Worker) -> Verdict {
    let mut region = Region::new(worker.random.between(1, 40)).context("mmap")?;
    region.touch(1);
    let mut pids: Vec<(Pid, Status)> = Vec::new();
    for _ in 0..worker.random.between(1, 5) {
        let code = worker.random.below(100) as i32;
        let (kind, cpu, nap) = (worker.random.below(4), worker.any_cpu(), worker.nap(5000));
        let child = process::spawn(|| {
            if worker.random.one_in(2) && move_to(cpu).is_err() {
                return 101;
            }
            match kind {
                0 => become_program(code),
                1 => {
                    let grandchild = process::spawn(|| written(&mut region, 3, code));
                    let ended = grandchild.and_then(process::wait);
                    if ended == Ok(Status::exit(code)) { written(&mut region, 2, code) } else { 102 }
                }
                2 => {
                    sleep(nap);
                    code
                }
                _ => written(&mut region, 2, code),
            }
        });
        // The child drew from its copy of the generator. This one stays
        // unchanged, whatever the child does.
        pids.push((child.context("fork")?, Status::exit(code)));
    }
    if worker.random.one_in(2) {
        pids.reverse();
    }
    for (pid, expected) in pids {
        let status = process::wait(pid).context("wait4")?;
        ensure!(status == expected, "a child ended with {status}, not {expected}");
    }
    ensure!(region.touched_with(1), "a child wrote to its parent's memory");
    Ok(())
}

/// Writes `mark` to all pages; returns `code` if the pages then hold it.
fn written(region: &mut Region, mark: u8, code: i32) -> i32 {
    region.touch(mark);
    if region.touched_with(mark) { code } else { 103 }
}

/// Becomes `/bin/exits CODE`.
fn become_program(code: i32) -> i32 {
    let digits = [b'0' + (code / 10) as u8, b'0' + (code % 10) as u8, 0];
    let Ok(argument) = core::ffi::CStr::from_bytes_with_nul(&digits) else { return 104 };
    let _ = process::exec(c"/bin/exits", &[c"exits", argument], &[]);
    105
}

/// Many short lives at once, on all CPUs.
pub(crate) fn crowd(worker: &mut Worker) -> Verdict {
    let count = worker.random.between(4, 16);
    for _ in 0..count {
        let cpu = worker.any_cpu();
        process::spawn(|| i32::from(move_to(cpu).is_err())).context("fork")?;
    }
    for _ in 0..count {
        let (_, status) = process::wait_any().context("wait4")?;
        ensure!(status.success(), "one of a crowd ended with {status}");
    }
    Ok(())
}

/// Children whose parent ends before them. They hold a pipe open: its end shows
/// that all have ended.
pub(crate) fn orphans(worker: &mut Worker) -> Verdict {
    let (reader, writer) = file::pipe().context("pipe2")?;
    let count = worker.random.between(1, 4);
    child_ends("their parent", Status::exit(0), || {
        for _ in 0..count {
            let nap = worker.nap(5000);
            let orphan = process::spawn(|| {
                sleep(nap);
                i32::from(writer.write_all(b"o").is_err())
            });
            if orphan.is_err() {
                return 1;
            }
        }
        0
    })?;
    writer.close().context("close")?;
    let mut bytes = [0; 8];
    let got = reader.read_full(&mut bytes).context("read")?;
    ensure!(got == count, "heard of {got} orphans of {count}");
    reader.close().context("close")
}

/// Threads that compute, sleep or change mappings, until the process is killed.
pub(crate) fn killed(worker: &mut Worker) -> Verdict {
    let threads = worker.random.between(0, 4);
    let child = process::spawn(|| {
        let _threads: Vec<_> = (0..threads).map(|index| thread::spawn(move || busy(index))).collect();
        busy(threads)
    });
    let child = child.context("fork")?;
    let nap = worker.nap(15_000);
    sleep(nap);
    process::kill(child, SIGKILL).context("kill")?;
    let status = process::wait(child).context("wait4")?;
    ensure!(status == Status::signal(SIGKILL), "a killed process ended with {status}");
    Ok(())
}

/// Returns only after an error.
fn busy(kind: usize) -> i32 {
    match kind % 3 {
        0 => sleep_for_ever(),
        1 => loop {
            core::hint::spin_loop();
        },
        _ => loop {
            let Ok(mut region) = Region::new(8) else { return 1 };
            region.touch(7);
            if !region.touched_with(7) {
                return 2;
            }
        },
    }
}

fn sleep_for_ever() -> ! {
    let never = AtomicU32::new(0);
    loop {
        let _ = futex::wait(&never, 0, None);
    }
}

/// The four ways in which a process with threads ends by itself.
pub(crate) fn ends_with_threads(worker: &mut Worker) -> Verdict {
    let count = worker.random.between(1, 5);
    let cpus: Vec<usize> = (0..count).map(|_| worker.any_cpu()).collect();
    let nap = worker.nap(3000);
    let sleepers = || -> Vec<Option<Thread<()>>> {
        let start = |&cpu| {
            thread::spawn(move || {
                let _ = move_to(cpu);
                sleep_for_ever()
            })
            .ok()
        };
        cpus.iter().map(start).collect()
    };
    match worker.random.below(4) {
        0 => child_ends("exit_group", Status::exit(3), || {
            let _sleepers = sleepers();
            sleep(nap);
            exit_group(3)
        }),
        1 => child_ends("exit_group by a thread", Status::exit(4), || {
            let _sleepers = sleepers();
            let ender = thread::spawn(move || {
                sleep(nap);
                exit_group(4)
            });
            if ender.is_err() {
                return 106;
            }
            sleep_for_ever()
        }),
        2 => child_ends("exec", Status::exit(0), || {
            let _sleepers = sleepers();
            sleep(nap);
            process::exec(c"/bin/true", &[c"true"], &[]).0
        }),
        _ => child_ends("first thread first", Status::exit(5), || {
            let last = thread::spawn(move || {
                sleep(nap + Duration::from_micros(100));
                exit_group(5)
            });
            core::mem::forget(last);
            thread::exit()
        }),
    }
}

/// A child sends back each byte plus one.
pub(crate) fn pipe(worker: &mut Worker) -> Verdict {
    let ((from_us, to_child), (from_child, to_us)) =
        (file::pipe().context("pipe2")?, file::pipe().context("pipe2")?);
    let cpu = worker.any_cpu();
    let child = process::spawn(|| {
        let _ = to_child.close();
        i32::from(move_to(cpu).is_err()) + echo(from_us, to_us)
    })
    .context("fork")?;
    for _ in 0..worker.random.between(1, 60) {
        let mut bytes = [0; 300];
        let len = worker.random.between(1, bytes.len());
        let first = worker.random.next_u64() as u8;
        bytes[..len].fill(first);
        to_child.write_all(&bytes[..len]).context("write")?;
        let got = from_child.read_full(&mut bytes[..len]).context("read")?;
        let right = bytes[..len].iter().all(|&byte| byte == first.wrapping_add(1));
        ensure!(got == len && right, "{got} bytes of {len} came back, right: {right}");
    }
    to_child.close().context("close")?;
    let status = process::wait(child).context("wait4")?;
    ensure!(status.success(), "the echo ended with {status}");
    [from_us, from_child, to_us].into_iter().try_for_each(Fd::close).context("close")
}

fn echo(from: Fd, to: Fd) -> i32 {
    let mut bytes = [0; 128];
    loop {
        match from.read(&mut bytes) {
            Ok(0) => return 0,
            Ok(count) => {
                bytes[..count].iter_mut().for_each(|byte| *byte = byte.wrapping_add(1));
                if to.write_all(&bytes[..count]).is_err() {
                    return 107;
                }
            }
            Err(_) => return 108,
        }
    }
}
