//! Threads hold their registers during interrupts, signals, page faults, switches
//! to other processes and moves from CPU to CPU.

use alloc::string::String;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, AtomicUsize, Ordering};

use user::memory::{PAGE, Region};
use user::sched::{self, CpuSet};
use user::sys::{Errno, syscall};
use user::{Context, Verdict, ensure, process, thread};

use super::state::{Kept, Registers, fpscr, window_call, window_spin, window_store, window_trap};

const SIGTRAP: usize = 5;
const SIGUSR1: usize = 10;
const THREADS: usize = 3;
const ROUNDS: usize = 6;
/// On more than one CPU, a spin is ended after so many moves.
const MOVES: usize = 3;

/// A thread that holds registers.
struct Seat {
    /// 0 until the thread has started.
    tid: AtomicI32,
    /// It spins until a handler lets it go on.
    spins: AtomicBool,
}

static SEATS: [Seat; THREADS] =
    [const { Seat { tid: AtomicI32::new(0), spins: AtomicBool::new(false) } }; THREADS];
/// Seats that are not done.
static BUSY: AtomicUsize = AtomicUsize::new(THREADS);
/// Handlers that ran, and those that found an FPSCR other than 0.
static HANDLERS: AtomicU32 = AtomicU32::new(0);
static BAD_HANDLERS: AtomicU32 = AtomicU32::new(0);

/// The handlers' half in Rust: goes on behind the instruction of a window.
pub(crate) extern "C" fn note(_signal: i32, _info: usize, context: *mut u8) {
    /// In Linux's `struct ucontext`.
    const NIP: usize = 488;
    let bad = fpscr() != 0;
    BAD_HANDLERS.fetch_add(bad.into(), Ordering::Relaxed);
    unsafe extern "C" {
        static window_spin_instruction: u8;
        static window_trap_instruction: u8;
    }
    // SAFETY: the kernel's context of the program, which is 8-byte aligned.
    let nip = unsafe { &mut *context.add(NIP).cast::<usize>() };
    let spins = *nip == (&raw const window_spin_instruction).addr();
    if spins || *nip == (&raw const window_trap_instruction).addr() {
        *nip += 4;
        HANDLERS.fetch_add(1, Ordering::Relaxed);
    }
    if spins {
        let me = thread::gettid();
        let seat = SEATS.iter().find(|seat| seat.tid.load(Ordering::Relaxed) == me);
        seat.inspect(|seat| seat.spins.store(false, Ordering::Relaxed));
    }
}

/// Holds registers in [`THREADS`] threads, with values that differ by `process`,
/// while it rains.
pub(crate) fn all_are_kept(process: u64) -> Verdict {
    handle_signals().context("rt_sigaction")?;
    let mut threads = Vec::new();
    for seat in &SEATS {
        let seed = process * 100 + threads.len() as u64;
        threads.push(thread::spawn(move || sit(seat, seed)).context("clone")?);
    }
    rain()?;
    for thread in threads {
        thread.join().unwrap_or_else(|| Err("a thread was lost".into()))?;
    }
    let (ran, bad) = (HANDLERS.load(Ordering::Relaxed), BAD_HANDLERS.load(Ordering::Relaxed));
    ensure!(ran as usize == THREADS * ROUNDS * 2, "{ran} handlers ran");
    ensure!(bad == 0, "{bad} of {ran} handlers began with another FPSCR than 0");
    Ok(())
}

fn call(number: usize, args: [usize; 6]) -> Result<usize, Errno> {
    // SAFETY: only for calls that use living memory.
    unsafe { syscall(number, args) }
}

fn handle_signals() -> Result<(), Errno> {
    const RT_SIGACTION: usize = 173;
    const SA_SIGINFO: usize = 4;
    const SA_ONSTACK: usize = 0x800_0000;
    unsafe extern "C" {
        fn handler();
    }
    for (signal, stack) in [(SIGTRAP, 0), (SIGUSR1, SA_ONSTACK)] {
        // The kernel's `struct sigaction`: handler, flags, restorer, mask.
        let action = [handler as *const () as usize, SA_SIGINFO | stack, 0, 0];
        call(RT_SIGACTION, [signal, action.as_ptr() as usize, 0, 8, 0, 0])?;
    }
    Ok(())
}

/// Moves the threads from CPU to CPU, and ends their spins.
fn rain() -> Verdict {
    const SCHED_SETAFFINITY: usize = 222;
    const TKILL: usize = 208;
    let cpus: Vec<CpuSet> =
        sched::affinity().context("sched_getaffinity")?.iter().map(CpuSet::only).collect();
    let passes = if cpus.len() == 1 { 1 } else { MOVES };
    for drop in 1_usize.. {
        if BUSY.load(Ordering::Relaxed) == 0 {
            break;
        }
        for (number, seat) in SEATS.iter().enumerate() {
            let tid = seat.tid.load(Ordering::Relaxed) as usize;
            if tid == 0 {
                continue;
            }
            let cpu = &cpus[(drop * (number + 1)) % cpus.len()];
            // The thread may have ended.
            let _ = call(SCHED_SETAFFINITY, [tid, size_of::<CpuSet>(), cpu as *const _ as usize, 0, 0, 0]);
            if drop % passes == 0 && seat.spins.load(Ordering::Relaxed) {
                let _ = call(TKILL, [tid, SIGUSR1, 0, 0, 0, 0]);
            }
        }
        sched::yield_now();
    }
    Ok(())
}

fn sit(seat: &Seat, seed: u64) -> Verdict {
    const SIGALTSTACK: usize = 185;
    let stack = Region::new(4).context("mmap")?;
    call(SIGALTSTACK, [[stack.address(), 0, stack.len()].as_ptr() as usize, 0, 0, 0, 0, 0])
        .context("sigaltstack")?;
    let pages = Region::new(ROUNDS).context("mmap")?;
    seat.tid.store(thread::gettid(), Ordering::Relaxed);
    let held = (0..ROUNDS).try_for_each(|round| {
        let page = pages.address() + round * PAGE;
        hold(seat, &Registers::pattern(seed << 8 | round as u64), page)
            .map_err(|(what, why)| user::verdict::format!("{what}, round {round} of {seed}: {why}"))
    });
    BUSY.fetch_sub(1, Ordering::Relaxed);
    held
}

/// Takes `pattern` through a window of each kind. `page` must be untouched.
fn hold(seat: &Seat, pattern: &Registers, page: usize) -> Result<(), (&'static str, String)> {
    const SCHED_YIELD: u64 = 158;
    const NANOSLEEP: u64 = 162;
    let kept = |what, before: &Registers, window, kept| {
        before.through(window).check(before, kept).map_err(|why| (what, why))
    };
    seat.spins.store(true, Ordering::Relaxed);
    kept("interrupts and a signal", pattern, window_spin, Kept::All)?;
    kept("a trap", pattern, window_trap, Kept::All)?;

    let mut before = pattern.clone();
    before.gpr[5] = page as u64;
    kept("a page fault", &before, window_store, Kept::All)?;

    before.gpr[0] = SCHED_YIELD;
    kept("sched_yield", &before, window_call, Kept::AcrossCall)?;
    let span = [0_u64, 200_000];
    before.gpr[0] = NANOSLEEP;
    (before.gpr[3], before.gpr[4]) = (span.as_ptr() as u64, 0);
    kept("nanosleep", &before, window_call, Kept::AcrossCall)
}

/// The child of a fork, and its parent, go on with the registers of the parent.
pub(crate) fn kept_by_fork() -> Verdict {
    const CLONE: u64 = 120;
    const SIGCHLD: u64 = 17;
    let mut before = Registers::pattern(77);
    before.gpr[0] = CLONE;
    before.gpr[3..8].copy_from_slice(&[SIGCHLD, 0, 0, 0, 0]);
    let after = before.through(window_call);
    let kept = after.check(&before, Kept::AcrossCall);
    if after.gpr[3] == 0 {
        kept.inspect_err(|why| user::println!("the child: {why}"))?;
        process::exit_group(0);
    }
    kept?;
    let ended = process::wait(process::Pid(after.gpr[3] as i32)).context("wait4")?;
    ensure!(ended.success(), "the child ended with {ended}");
    Ok(())
}
