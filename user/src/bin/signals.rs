//! `signals [KIND]`: which signals wait, which is taken first, and on what stack.
//! Without an argument: each kind in a child.
#![no_std]
#![no_main]

extern crate alloc;

use core::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, Ordering};
use core::time::Duration;

use user::kinds::{self, Kind, call};
use user::memory::peek;
use user::process::{self, SIGSEGV};
use user::{Context, Env, Errno, Verdict, ensure, thread, time};

user::main!(main);

const SIGHUP: i32 = 1;
const SIGUSR1: i32 = 10;
const SIGUSR2: i32 = 12;
const SIGCHLD: i32 = 17;
const SIGWINCH: i32 = 28;
/// A real-time signal.
const SIGRTMIN: i32 = 34;

const KINDS: [Kind; 10] = [
    ("blocked-ignored", blocked_ignored),
    ("blocked-default", blocked_default),
    ("ignoring-discards", ignoring_discards),
    ("full-queue", full_queue),
    ("full-queue-fault", full_queue_fault),
    ("synchronous-first", synchronous_first),
    ("number-first", number_first),
    ("fault-first", fault_first),
    ("stack-inherited", stack_inherited),
    ("stack-flags", stack_flags),
];

fn main(env: &Env) -> Verdict {
    kinds::run(env, &KINDS)
}

const fn bit(signal: i32) -> u64 {
    1 << (signal - 1)
}

/// Blocks the signals of `mask`, and no other.
fn block(mask: u64) -> Verdict {
    const RT_SIGPROCMASK: usize = 174;
    const SIG_SETMASK: usize = 2;
    call(RT_SIGPROCMASK, [SIG_SETMASK, &raw const mask as usize, 0, 8, 0, 0])
        .context("rt_sigprocmask")
        .map(drop)
}

/// The blocked signals that wait.
fn pending() -> Result<u64, alloc::string::String> {
    const RT_SIGPENDING: usize = 175;
    let mut mask = 0_u64;
    call(RT_SIGPENDING, [&raw mut mask as usize, 8, 0, 0, 0, 0]).context("rt_sigpending")?;
    Ok(mask)
}

fn kill_thread(tid: i32, signal: i32) -> Result<usize, Errno> {
    const TKILL: usize = 208;
    call(TKILL, [tid as usize, signal as usize, 0, 0, 0, 0])
}

/// Sends the process, or this thread, a signal.
const SENDERS: [fn(i32) -> Result<(), Errno>; 2] = [
    |signal| process::kill(process::getpid(), signal),
    |signal| kill_thread(thread::gettid(), signal).map(drop),
];

/// How often `count` ran.
static CAUGHT: AtomicU32 = AtomicU32::new(0);

extern "C" fn count(_: i32) {
    CAUGHT.fetch_add(1, Ordering::Relaxed);
}

/// A blocked signal waits although it is ignored: it may have a handler when it is
/// unblocked.
fn blocked_ignored() -> Verdict {
    process::ignore(SIGUSR1).context("rt_sigaction")?;
    waits_for_a_handler(SIGUSR1)
}

/// The case of a signal that is ignored by default.
fn blocked_default() -> Verdict {
    waits_for_a_handler(SIGWINCH)
}

fn waits_for_a_handler(signal: i32) -> Verdict {
    for send in SENDERS {
        block(bit(signal))?;
        send(signal).context("kill")?;
        ensure!(pending()? == bit(signal), "it does not wait");
        // It is ignored in the end, too: it has no effect.
        block(0)?;
        ensure!(pending()? == 0, "it still waits");
    }
    block(bit(signal))?;
    for send in SENDERS {
        send(signal).context("kill")?;
    }
    process::handle(signal, count, 0).context("rt_sigaction")?;
    block(0)?;
    let caught = CAUGHT.load(Ordering::Relaxed);
    ensure!(caught == 2, "{caught} of 2 signals were caught");
    Ok(())
}

/// A pending signal that the program begins to ignore is discarded: a handler that it
/// installs later does not see it.
fn ignoring_discards() -> Verdict {
    block(bit(SIGUSR1))?;
    for send in SENDERS {
        send(SIGUSR1).context("kill")?;
    }
    process::ignore(SIGUSR1).context("rt_sigaction")?;
    ensure!(pending()? == 0, "it still waits");
    process::handle(SIGUSR1, count, 0).context("rt_sigaction")?;
    block(0)?;
    let caught = CAUGHT.load(Ordering::Relaxed);
    ensure!(caught == 0, "{caught} signals were caught");
    Ok(())
}

/// A full queue of real-time signals leaves room for the others, and for one of each.
fn full_queue() -> Verdict {
    block(u64::MAX)?;
    process::handle(SIGUSR1, count, 0).context("rt_sigaction")?;
    for send in SENDERS {
        fill_queue(send);
        for signal in [SIGUSR1, SIGUSR2, SIGRTMIN + 1] {
            send(signal).context("kill")?;
        }
    }
    let expected = bit(SIGUSR1) | bit(SIGUSR2) | bit(SIGRTMIN) | bit(SIGRTMIN + 1);
    let waiting = pending()?;
    ensure!(waiting == expected, "{waiting:#x} wait, not {expected:#x}");
    block(!bit(SIGUSR1))?;
    let caught = CAUGHT.load(Ordering::Relaxed);
    ensure!(caught == 2, "{caught} of 2 signals were caught");
    Ok(())
}

fn fill_queue(send: fn(i32) -> Result<(), Errno>) {
    for _ in 0..3000 {
        // A kernel may refuse: there are too many.
        let _ = send(SIGRTMIN);
    }
}

/// With a full queue a fault still has its handler.
fn full_queue_fault() -> Verdict {
    block(bit(SIGRTMIN))?;
    fill_queue(SENDERS[1]);
    handle_faults()?;
    let _ = peek(0);
    let faults = FAULTS.load(Ordering::Relaxed);
    ensure!(faults == 1, "the handler ran {faults} times");
    Ok(())
}

/// How often a fault was handled, and how often its handler found the address of
/// `nothing`.
static FAULTS: AtomicU32 = AtomicU32::new(0);
static MISLED: AtomicU32 = AtomicU32::new(0);

/// Goes on behind the instruction that faults.
extern "C" fn skip(_: i32, _: usize, context: *mut u8) {
    /// In Linux's `struct ucontext`.
    const NIP: usize = 488;
    // SAFETY: the kernel's context of the program, which is 8-byte aligned.
    let nip = unsafe { &mut *context.add(NIP).cast::<usize>() };
    if *nip == nothing as *const () as usize {
        MISLED.fetch_add(1, Ordering::Relaxed);
    } else {
        FAULTS.fetch_add(1, Ordering::Relaxed);
        *nip += 4;
    }
}

fn handle_faults() -> Verdict {
    const RT_SIGACTION: usize = 173;
    const SA_SIGINFO: usize = 4;
    // The kernel's `struct sigaction`: handler, flags, restorer, mask.
    let action = [skip as *const () as usize, SA_SIGINFO, 0, 0];
    call(RT_SIGACTION, [SIGSEGV as usize, action.as_ptr() as usize, 0, 8, 0, 0])
        .context("rt_sigaction")
        .map(drop)
}

/// The signals of the handlers that ran, the last one first, in digits of 100.
static RAN: AtomicI32 = AtomicI32::new(0);

extern "C" fn note(signal: i32) {
    RAN.store(RAN.load(Ordering::Relaxed) * 100 + signal, Ordering::Relaxed);
}

/// Of two signals, one of the kind that faults send is taken first, whatever the
/// numbers. So its handler is where the other's returns to.
fn synchronous_first() -> Verdict {
    for send in SENDERS {
        RAN.store(0, Ordering::Relaxed);
        block(u64::MAX)?;
        for signal in [SIGHUP, SIGSEGV] {
            process::handle(signal, note, 0).context("rt_sigaction")?;
            send(signal).context("kill")?;
        }
        block(0)?;
        let ran = RAN.load(Ordering::Relaxed);
        ensure!(ran == SIGHUP * 100 + SIGSEGV, "they ran as {ran}");
    }
    Ok(())
}

/// Of other signals the lower number is taken first, though the kernel sends the higher one.
fn number_first() -> Verdict {
    RAN.store(0, Ordering::Relaxed);
    block(u64::MAX)?;
    for signal in [SIGUSR1, SIGCHLD] {
        process::handle(signal, note, 0).context("rt_sigaction")?;
    }
    let child = process::spawn(|| 0).context("fork")?;
    process::wait(child).context("wait")?;
    process::kill(process::getpid(), SIGUSR1).context("kill")?;
    block(0)?;
    let ran = RAN.load(Ordering::Relaxed);
    ensure!(ran == SIGCHLD * 100 + SIGUSR1, "they ran as {ran}");
    Ok(())
}

extern "C" fn nothing(_: i32) {}

/// The handler of a fault finds the place of the fault, however many signals come
/// meanwhile. A later frame would show it only the start of their handler.
fn fault_first() -> Verdict {
    static STOP: AtomicBool = AtomicBool::new(false);
    const TIME: Duration = Duration::from_secs(2);
    process::handle(SIGHUP, nothing, 0).context("rt_sigaction")?;
    handle_faults()?;
    let me = thread::gettid();
    let sender = thread::spawn(move || {
        while !STOP.load(Ordering::Relaxed) {
            let _ = kill_thread(me, SIGHUP);
        }
    });
    let sender = sender.context("clone")?;
    let start = time::now();
    while time::now() - start < TIME {
        let _ = peek(0);
    }
    STOP.store(true, Ordering::Relaxed);
    ensure!(sender.join().is_some(), "the sender was lost");
    let (faults, misled) = (FAULTS.load(Ordering::Relaxed), MISLED.load(Ordering::Relaxed));
    ensure!(misled == 0, "misled {misled} times in {faults} faults");
    Ok(())
}

const SS_ONSTACK: u64 = 1 << 32;
const SS_DISABLE: u64 = 2 << 32;

/// Linux's `stack_t`: address, flags (in the high half), bytes.
type AlternateStack = [u64; 3];

/// Sets the alternate stack, if one is given; gives the one before.
fn alternate_stack(new: Option<AlternateStack>) -> Result<AlternateStack, Errno> {
    const SIGALTSTACK: usize = 185;
    let mut old = [0; 3];
    let new = new.as_ref().map_or(0, |new| new.as_ptr() as usize);
    call(SIGALTSTACK, [new, old.as_mut_ptr() as usize, 0, 0, 0, 0])?;
    // The other half of the flags is a gap.
    old[1] &= !0xffff_ffff;
    Ok(old)
}

/// No handler runs there: an address is enough.
const STACK: AlternateStack = [0x1000_0000, 0, 0x1_0000];

/// A child has its maker's alternate stack; a thread has none.
fn stack_inherited() -> Verdict {
    alternate_stack(Some(STACK)).context("sigaltstack")?;
    let inherited = || i32::from(alternate_stack(None) != Ok(STACK));
    for (name, child) in [("fork", process::spawn(inherited)), ("vfork", process::spawn_ahead(inherited))] {
        let status = process::wait(child.context(name)?).context("wait4")?;
        ensure!(status.success(), "a child of {name} has another stack");
    }
    let thread = thread::spawn(|| alternate_stack(None)).context("clone")?;
    let stack = thread.join();
    ensure!(stack == Some(Ok([0, SS_DISABLE, 0])), "a thread has {stack:?}");
    Ok(())
}

/// SS_ONSTACK is taken as 0; with SS_DISABLE it is an error.
fn stack_flags() -> Verdict {
    let with = |flags| Some([STACK[0], flags, STACK[2]]);
    alternate_stack(with(SS_ONSTACK)).context("SS_ONSTACK")?;
    let stack = alternate_stack(None).context("sigaltstack")?;
    ensure!(stack == STACK, "it is {stack:?}");
    let nonsense = alternate_stack(with(SS_ONSTACK | SS_DISABLE));
    ensure!(nonsense == Err(Errno::EINVAL), "{nonsense:?}");
    Ok(())
}
