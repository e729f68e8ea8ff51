//! Floating-point and vector registers: every thread has its own, whoever runs
//! between.
//!
//! Threads and processes fill their registers with values of their own, give the
//! CPU away or sleep, and look again. fork must copy the registers; exec must not
//! leave another program's.
#![no_std]
#![no_main]

extern crate alloc;

use alloc::vec::Vec;
use core::time::Duration;

use user::auxv::{AT_HWCAP, HWCAP_VSX};
use user::process::{self, Status};
use user::verdict::{child_ends, on_foreign_kernel};
use user::{Context, Env, Verdict, ensure, println, sched, thread, time};

user::main!(main);

core::arch::global_asm!(include_str!("registers.S"));

unsafe extern "C" {
    fn fp_load(from: *const u64);
    fn fp_store(to: *mut u64);
    fn vsx_load(from: *const u64);
    fn vsx_store(to: *mut u64);
    fn fpscr_set(from: *const u64);
    fn fpscr_get(to: *mut u64);
}

/// The argument of the program that [`fresh`] is.
const FRESH: &str = "fresh";
const THREADS: usize = 4;
const ROUNDS: usize = 50;

/// Which registers a thread holds.
#[derive(Clone, Copy)]
enum File {
    FloatingPoint,
    VectorScalar,
}

impl File {
    /// Size in doublewords.
    fn size(self) -> usize {
        match self {
            Self::FloatingPoint => 32,
            Self::VectorScalar => 128,
        }
    }

    fn load(self, values: &[u64]) {
        assert_eq!(values.len(), self.size());
        // SAFETY: reads `size()` doublewords; no compiled code uses the registers.
        unsafe {
            match self {
                Self::FloatingPoint => fp_load(values.as_ptr()),
                Self::VectorScalar => vsx_load(values.as_ptr()),
            }
        }
    }

    fn store(self, values: &mut [u64]) {
        assert_eq!(values.len(), self.size());
        // SAFETY: writes `size()` doublewords.
        unsafe {
            match self {
                Self::FloatingPoint => fp_store(values.as_mut_ptr()),
                Self::VectorScalar => vsx_store(values.as_mut_ptr()),
            }
        }
    }
}

fn main(env: &Env) -> Verdict {
    if env.arg(1) == Some(FRESH) {
        return fresh();
    }
    kept_across_switches(File::FloatingPoint)?;
    println!("floating-point registers: ok");
    rounding_modes()?;
    println!("rounding modes: ok");
    // qemu-ppc64 has no means to execute us again.
    if let (false, Some(path)) = (on_foreign_kernel(), env.arg_bytes(0)) {
        child_ends("registers after exec", Status::exit(0), || {
            File::FloatingPoint.load(&values(File::FloatingPoint, 1));
            process::exec(path, &[path, c"fresh"], &[]).0
        })?;
    }
    // A kernel that does not announce them does not have to keep them.
    if env.aux(AT_HWCAP).unwrap_or(0) & HWCAP_VSX == 0 {
        println!("vector-scalar registers: skipped, not announced");
        return Ok(());
    }
    kept_across_switches(File::VectorScalar)?;
    println!("vector-scalar registers: ok");
    Ok(())
}

/// A new program starts with zeroes, whatever the old one left.
fn fresh() -> Verdict {
    let mut seen = values(File::FloatingPoint, 1);
    File::FloatingPoint.store(&mut seen);
    ensure!(seen.iter().all(|&value| value == 0), "registers survived exec");
    Ok(())
}

/// Values that tell thread and register.
fn values(file: File, seed: usize) -> Vec<u64> {
    (0..file.size()).map(|register| (seed as u64) << 32 | register as u64 | 0x4000 << 48).collect()
}

fn kept_across_switches(file: File) -> Verdict {
    // Before there are threads: one of them could hold the heap's lock.
    let child = process::spawn(|| i32::from(hold(file, THREADS + 1).is_err())).context("fork")?;
    let mut threads = Vec::new();
    for seed in 1..=THREADS {
        threads.push(thread::spawn(move || hold(file, seed)).context("clone")?);
    }
    let own = hold(file, 0);
    for thread in threads {
        thread.join().unwrap_or(Ok(()))?;
    }
    let status = process::wait(child).context("wait4")?;
    ensure!(status.success(), "another process's registers changed");
    own?;

    // A child starts with its parent's registers.
    let mine = values(file, 77);
    let mut seen = values(file, 0);
    file.load(&mine);
    child_ends("registers after fork", Status::exit(0), || {
        file.store(&mut seen);
        i32::from(seen != mine)
    })?;
    kept_by_fork(file, &mine)
}

/// The copy for the child leaves the parent's registers as they are.
fn kept_by_fork(file: File, mine: &[u64]) -> Verdict {
    let mut seen = values(file, 0);
    file.load(mine);
    let child = process::fork().context("fork")?;
    file.store(&mut seen);
    let Some(child) = child else { process::exit_group(0) };
    process::wait(child).context("wait4")?;
    let wrong = (0..seen.len()).find(|&at| seen[at] != mine[at]);
    ensure!(wrong.is_none(), "fork changed the parent's doubleword {wrong:?}");
    Ok(())
}

fn hold(file: File, seed: usize) -> Verdict {
    let mine = values(file, seed);
    let mut seen = values(file, 0);
    file.load(&mine);
    for round in 0..ROUNDS {
        if round % 10 == 9 {
            time::sleep(Duration::from_micros(200)).context("clock_nanosleep")?;
        } else {
            sched::yield_now();
        }
        file.store(&mut seen);
        let wrong = (0..seen.len()).find(|&at| seen[at] != mine[at]);
        if let Some(at) = wrong {
            let (is, was) = (seen[at], mine[at]);
            ensure!(false, "doubleword {at} is {is:#x}, was {was:#x}");
        }
    }
    Ok(())
}

/// Each thread has its own FPSCR too.
fn rounding_modes() -> Verdict {
    let mut threads = Vec::new();
    for mode in 0..4u64 {
        let work = move || {
            // SAFETY: one doubleword each; no compiled code uses the registers.
            unsafe { fpscr_set(&raw const mode) };
            for _ in 0..ROUNDS {
                sched::yield_now();
                let mut seen = 0;
                // SAFETY: as above.
                unsafe { fpscr_get(&raw mut seen) };
                ensure!(seen & 3 == mode, "rounding mode {} instead of {mode}", seen & 3);
            }
            Ok(())
        };
        threads.push(thread::spawn(work).context("clone")?);
    }
    for thread in threads {
        thread.join().unwrap_or(Ok(()))?;
    }
    Ok(())
}
