//! `handlers [KIND]`: dispositions of signals, and the mask and stack with which their
//! handlers run. Each kind in a child.
#![no_std]
#![no_main]

extern crate alloc;

use core::ffi::CStr;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use user::kinds::{self, Kind, answers, call, ends_with};
use user::memory::Region;
use user::process::{self, Status};
use user::{Context, Env, Errno, Verdict, ensure, thread};

user::main!(main);

const RT_SIGACTION: usize = 173;
const RT_SIGPROCMASK: usize = 174;
const RT_SIGPENDING: usize = 175;
const SIGALTSTACK: usize = 185;

const SIGUSR1: usize = 10;
const SIGUSR2: usize = 12;
const SIGKILL: usize = 9;
const SIGSTOP: usize = 19;

const SA_SIGINFO: u64 = 0x4;
const SA_RESTORER: u64 = 0x0400_0000;
const SA_ONSTACK: u64 = 0x0800_0000;
const SA_NODEFER: u64 = 0x4000_0000;
const SA_RESETHAND: u64 = 0x8000_0000;

const SS_ONSTACK: u32 = 1;
const SS_DISABLE: u32 = 2;
const SS_AUTODISARM: u32 = 1 << 31;

const KINDS: [Kind; 12] = [
    ("answers", the_answers),
    ("what-is-kept", what_is_kept),
    ("masks", masks),
    ("handler-masks", handler_masks),
    ("reset", reset),
    ("stack-answers", stack_answers),
    ("on-the-stack", on_the_stack),
    ("stack-of-the-context", stack_of_the_context),
    ("mask-of-the-context", mask_of_the_context),
    ("disarmed", disarmed),
    ("suspended", suspended),
    ("executed", executed),
];

/// The argument by which an executed program checks what it inherited.
const LOOK: &CStr = c"look";

fn main(env: &Env) -> Verdict {
    if env.arg_bytes(1) == Some(LOOK) {
        process::exit_group(what_is_found());
    }
    kinds::run(env, &KINDS)
}

/// The kernel's `struct sigaction`: handler, flags, restorer, mask.
type Action = [u64; 4];

fn bit(signal: usize) -> u64 {
    1 << (signal - 1)
}

fn set_action(signal: usize, new: Option<Action>) -> Result<Action, Errno> {
    let mut old = [!0; 4];
    let new = new.as_ref().map_or(0, |new| new.as_ptr() as usize);
    call(RT_SIGACTION, [signal, new, old.as_mut_ptr() as usize, 8, 0, 0]).map(|_| old)
}

fn handle(signal: usize, handler: extern "C" fn(u32, usize, *mut u8), flags: u64, mask: u64) -> Verdict {
    let new = [handler as *const () as u64, flags | SA_SIGINFO, 0, mask];
    set_action(signal, Some(new)).context("rt_sigaction").map(drop)
}

/// The mask; `new`, if any, replaces it.
fn blocked(new: Option<u64>) -> Result<u64, Errno> {
    const SIG_SETMASK: usize = 2;
    let mut old = 0_u64;
    let new = new.as_ref().map_or(0, |new| &raw const *new as usize);
    call(RT_SIGPROCMASK, [SIG_SETMASK, new, &raw mut old as usize, 8, 0, 0]).map(|_| old)
}

fn raise(signal: usize) -> Verdict {
    process::kill(process::getpid(), signal as i32).context("kill")
}

/// How often a handler ran, and the mask that it saw.
static RAN: AtomicU32 = AtomicU32::new(0);
static SEEN: AtomicU64 = AtomicU64::new(0);

fn ran(times: u32) -> Verdict {
    let ran = RAN.swap(0, Ordering::Relaxed);
    ensure!(ran == times, "the handler ran {ran} times, not {times}");
    Ok(())
}

extern "C" fn note_mask(_: u32, _: usize, _: *mut u8) {
    RAN.fetch_add(1, Ordering::Relaxed);
    SEEN.store(blocked(None).unwrap_or(!0), Ordering::Relaxed);
}

fn the_answers() -> Verdict {
    let action = [0_u64; 4];
    let act = action.as_ptr() as usize;
    let invalid = Err(Errno::EINVAL);
    answers(
        RT_SIGACTION,
        &[
            ("signal 0", [0, 0, 0, 8, 0, 0], invalid),
            ("signal 65", [65, act, 0, 8, 0, 0], invalid),
            ("signal -1", [usize::MAX, act, 0, 8, 0, 0], invalid),
            ("SIGKILL", [SIGKILL, act, 0, 8, 0, 0], invalid),
            ("SIGSTOP", [SIGSTOP, act, 0, 8, 0, 0], invalid),
            ("SIGKILL, asked", [SIGKILL, 0, 0, 8, 0, 0], Ok(0)),
            ("signal 64", [64, act, 0, 8, 0, 0], Ok(0)),
            ("a short mask", [SIGUSR1, act, 0, 4, 0, 0], invalid),
            ("from a bad address", [SIGUSR1, 8, 0, 8, 0, 0], Err(Errno::EFAULT)),
            ("to a bad address", [SIGUSR1, 0, 8, 8, 0, 0], Err(Errno::EFAULT)),
        ],
    )?;
    let mask = 0_u64;
    let mask = &raw const mask as usize;
    answers(
        RT_SIGPROCMASK,
        &[
            ("how 3", [3, mask, 0, 8, 0, 0], invalid),
            ("how -1", [usize::MAX, mask, 0, 8, 0, 0], invalid),
            ("how 3, asked", [3, 0, 0, 8, 0, 0], Ok(0)),
            ("a short mask", [2, mask, 0, 4, 0, 0], invalid),
            ("from a bad address", [2, 8, 0, 8, 0, 0], Err(Errno::EFAULT)),
            ("to a bad address", [2, 0, 8, 8, 0, 0], Err(Errno::EFAULT)),
        ],
    )?;
    answers(
        RT_SIGPENDING,
        &[
            ("a long mask", [mask, 16, 0, 0, 0, 0], invalid),
            ("to a bad address", [8, 8, 0, 0, 0, 0], Err(Errno::EFAULT)),
        ],
    )
}

/// Known flags are kept, and the mask without the signals that cannot be blocked.
fn what_is_kept() -> Verdict {
    let handler = note_mask as *const () as u64;
    let flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER | SA_RESTORER;
    // Linux clears the flag that no kernel has since 5.11.
    set_action(SIGUSR1, Some([handler, flags | 0x400, 7, !0])).context("rt_sigaction")?;
    let kept = set_action(SIGUSR1, None).context("rt_sigaction")?;
    let expected = [handler, flags, 7, !(bit(SIGKILL) | bit(SIGSTOP))];
    ensure!(kept == expected, "{kept:x?}, not {expected:x?}");
    let before = set_action(SIGUSR1, Some([1, 0, 0, 0])).context("rt_sigaction")?;
    ensure!(before == expected, "the one before: {before:x?}");
    Ok(())
}

fn masks() -> Verdict {
    let change = |how: usize, mask: u64| call(RT_SIGPROCMASK, [how, &raw const mask as usize, 0, 8, 0, 0]);
    blocked(Some(0)).context("set")?;
    change(0, bit(SIGUSR1)).context("block")?;
    change(0, bit(SIGUSR2) | bit(SIGKILL)).context("block")?;
    ensure!(blocked(None) == Ok(bit(SIGUSR1) | bit(SIGUSR2)), "blocked: {:x?}", blocked(None));
    change(1, bit(SIGUSR1) | bit(3)).context("unblock")?;
    ensure!(blocked(None) == Ok(bit(SIGUSR2)), "unblocked: {:x?}", blocked(None));
    ensure!(blocked(Some(!0)) == Ok(bit(SIGUSR2)), "the mask before");
    ensure!(blocked(None) == Ok(!(bit(SIGKILL) | bit(SIGSTOP))), "all: {:x?}", blocked(None));
    // A child and a thread inherit the mask, and an executed program keeps it.
    let mask = blocked(None);
    ends_with("a child", Status::exit(0), process::spawn(|| i32::from(blocked(None) != mask)))?;
    let thread = thread::spawn(|| blocked(None)).context("clone")?;
    ensure!(thread.join() == Some(mask), "a thread has another mask");
    // Four bytes of the pending signals.
    raise(SIGUSR2)?;
    let mut waiting = [0xff_u8; 8];
    call(RT_SIGPENDING, [waiting.as_mut_ptr() as usize, 4, 0, 0, 0, 0]).context("rt_sigpending")?;
    ensure!(waiting == [0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff], "half of what waits: {waiting:x?}");
    Ok(())
}

/// A handler runs with its own signal blocked, and those of its mask. Then the old mask is
/// back.
fn handler_masks() -> Verdict {
    let before = bit(3);
    blocked(Some(before)).context("block")?;
    for (flags, own) in [(0, bit(SIGUSR1)), (SA_NODEFER, 0)] {
        handle(SIGUSR1, note_mask, flags, bit(SIGUSR2) | bit(SIGKILL))?;
        raise(SIGUSR1)?;
        ran(1)?;
        let seen = SEEN.load(Ordering::Relaxed);
        ensure!(seen == before | own | bit(SIGUSR2), "mask {seen:#x} in the handler");
        ensure!(blocked(None) == Ok(before), "mask {:x?} afterwards", blocked(None));
    }
    Ok(())
}

/// SA_RESETHAND: the handler runs once. The flags stay.
fn reset() -> Verdict {
    handle(SIGUSR1, note_mask, SA_RESETHAND, bit(SIGUSR2))?;
    raise(SIGUSR1)?;
    ran(1)?;
    let [handler, flags, _, mask] = set_action(SIGUSR1, None).context("rt_sigaction")?;
    ensure!(handler == 0, "the handler is still there");
    ensure!(
        flags & !SA_RESTORER == SA_RESETHAND | SA_SIGINFO && mask == bit(SIGUSR2),
        "{flags:#x}, {mask:#x}"
    );
    let again = process::spawn(|| i32::from(raise(SIGUSR1).is_ok()));
    ends_with("the second one", Status::signal(SIGUSR1 as i32), again)
}

/// Linux's `stack_t`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
struct Stack {
    base: u64,
    flags: u32,
    pad: u32,
    size: u64,
}

const NO_STACK: Stack = Stack { base: 0, flags: SS_DISABLE, pad: 0, size: 0 };

fn alternate_stack(new: Option<Stack>) -> Result<Stack, Errno> {
    let mut old = NO_STACK;
    let new = new.as_ref().map_or(0, |new| &raw const *new as usize);
    call(SIGALTSTACK, [new, &raw mut old as usize, 0, 0, 0, 0])?;
    old.pad = 0;
    Ok(old)
}

/// Memory for a stack that lives as long as the program.
fn memory_for_stack() -> Result<Stack, alloc::string::String> {
    let region = Region::new(16).context("mmap")?;
    let stack = Stack { base: region.address() as u64, flags: 0, pad: 0, size: region.len() as u64 };
    core::mem::forget(region);
    Ok(stack)
}

fn stack_answers() -> Verdict {
    let stack = memory_for_stack()?;
    ensure!(alternate_stack(None) == Ok(NO_STACK), "{:?}", alternate_stack(None));
    let with = |size, flags| alternate_stack(Some(Stack { size, flags, ..stack })).map(drop);
    ensure!(with(2047, 0) == Err(Errno::ENOMEM), "2047 bytes");
    ensure!(with(2048, 0) == Ok(()), "2048 bytes");
    ensure!(with(2048, 4) == Err(Errno::EINVAL), "flags 4");
    ensure!(with(0, SS_DISABLE | SS_ONSTACK) == Err(Errno::EINVAL), "flags 3");
    ensure!(with(stack.size, SS_AUTODISARM) == Ok(()), "SS_AUTODISARM");
    let told = alternate_stack(None);
    ensure!(told == Ok(Stack { flags: SS_AUTODISARM, ..stack }), "{told:?}");
    ensure!(with(0, SS_DISABLE) == Ok(()) && alternate_stack(None) == Ok(NO_STACK), "SS_DISABLE");
    let bad = call(SIGALTSTACK, [8, 0, 0, 0, 0, 0]);
    ensure!(bad == Err(Errno::EFAULT), "from a bad address: {bad:?}");
    Ok(())
}

/// sigaltstack's answer in a handler, whether it can change the stack there, and the
/// handler's address.
static TOLD: AtomicU32 = AtomicU32::new(0);
static CHANGED: AtomicU32 = AtomicU32::new(0);

extern "C" fn look_at_stack(_: u32, _: usize, _: *mut u8) {
    RAN.fetch_add(1, Ordering::Relaxed);
    let here = 0_u8;
    SEEN.store(&raw const here as u64, Ordering::Relaxed);
    TOLD.store(alternate_stack(None).map_or(99, |stack| stack.flags), Ordering::Relaxed);
    let changed = alternate_stack(Some(NO_STACK));
    CHANGED.store(changed.map_or_else(|errno| errno.0 as u32, |_| 0), Ordering::Relaxed);
}

fn ran_on(stack: Stack, there: bool) -> Verdict {
    ran(1)?;
    let at = SEEN.load(Ordering::Relaxed);
    ensure!((stack.base..stack.base + stack.size).contains(&at) == there, "it ran at {at:#x}");
    Ok(())
}

fn on_the_stack() -> Verdict {
    let stack = memory_for_stack()?;
    alternate_stack(Some(stack)).context("sigaltstack")?;
    handle(SIGUSR1, look_at_stack, 0, 0)?;
    raise(SIGUSR1)?;
    ran_on(stack, false)?;
    let (told, changed) = (TOLD.load(Ordering::Relaxed), CHANGED.load(Ordering::Relaxed));
    ensure!(told == 0 && changed == 0, "beside it: {told}, {changed}");
    alternate_stack(Some(stack)).context("sigaltstack")?;
    handle(SIGUSR1, look_at_stack, SA_ONSTACK, 0)?;
    raise(SIGUSR1)?;
    ran_on(stack, true)?;
    let (told, changed) = (TOLD.load(Ordering::Relaxed), CHANGED.load(Ordering::Relaxed));
    ensure!(told == SS_ONSTACK && changed == Errno::EPERM.0 as u32, "on it: {told}, {changed}");
    ensure!(alternate_stack(None) == Ok(stack), "afterwards: {:?}", alternate_stack(None));
    Ok(())
}

/// Where `ucontext` has the stack and the mask.
const CONTEXT_STACK: usize = 16;
const CONTEXT_MASK: usize = 40;

/// The other stack, which the handler below puts in its context.
static OTHER: AtomicU64 = AtomicU64::new(0);

extern "C" fn change_stack(_: u32, _: usize, context: *mut u8) {
    RAN.fetch_add(1, Ordering::Relaxed);
    // SAFETY: the kernel's context, which is aligned.
    let stack = unsafe { &mut *context.add(CONTEXT_STACK).cast::<Stack>() };
    SEEN.store(stack.base, Ordering::Relaxed);
    stack.base = OTHER.load(Ordering::Relaxed);
}

/// sigreturn sets the stack from the context.
fn stack_of_the_context() -> Verdict {
    let (stack, other) = (memory_for_stack()?, memory_for_stack()?);
    alternate_stack(Some(stack)).context("sigaltstack")?;
    OTHER.store(other.base, Ordering::Relaxed);
    handle(SIGUSR1, change_stack, 0, 0)?;
    raise(SIGUSR1)?;
    ran(1)?;
    ensure!(SEEN.load(Ordering::Relaxed) == stack.base, "the context had another stack");
    ensure!(alternate_stack(None) == Ok(other), "afterwards: {:?}", alternate_stack(None));
    Ok(())
}

extern "C" fn change_mask(_: u32, _: usize, context: *mut u8) {
    RAN.fetch_add(1, Ordering::Relaxed);
    // SAFETY: the kernel's context, which is aligned.
    let mask = unsafe { &mut *context.add(CONTEXT_MASK).cast::<u64>() };
    SEEN.store(*mask, Ordering::Relaxed);
    *mask = bit(SIGUSR2) | bit(SIGKILL);
}

/// sigreturn sets the mask from the context.
fn mask_of_the_context() -> Verdict {
    blocked(Some(bit(3))).context("block")?;
    handle(SIGUSR1, change_mask, 0, 0)?;
    raise(SIGUSR1)?;
    ran(1)?;
    let seen = SEEN.load(Ordering::Relaxed);
    ensure!(seen == bit(3), "the context had mask {seen:#x}");
    ensure!(blocked(None) == Ok(bit(SIGUSR2)), "afterwards: {:x?}", blocked(None));
    Ok(())
}

/// SS_AUTODISARM: the handler finds no stack and may set one. Its return restores the old one.
fn disarmed() -> Verdict {
    let stack = Stack { flags: SS_AUTODISARM, ..memory_for_stack()? };
    alternate_stack(Some(stack)).context("sigaltstack")?;
    handle(SIGUSR1, look_at_stack, SA_ONSTACK, 0)?;
    for _ in 0..2 {
        raise(SIGUSR1)?;
        ran_on(stack, true)?;
        let (told, changed) = (TOLD.load(Ordering::Relaxed), CHANGED.load(Ordering::Relaxed));
        ensure!(told == SS_DISABLE && changed == 0, "in the handler: {told:#x}, {changed}");
        ensure!(alternate_stack(None) == Ok(stack), "afterwards: {:?}", alternate_stack(None));
    }
    Ok(())
}

fn pending() -> u64 {
    let mut mask = 0_u64;
    let answer = call(RT_SIGPENDING, [&raw mut mask as usize, 8, 0, 0, 0, 0]);
    if answer == Ok(0) { mask } else { !0 }
}

/// rt_sigsuspend: handlers run with its mask and their own. Then the old mask is back.
fn suspended() -> Verdict {
    const RT_SIGSUSPEND: usize = 178;
    let before = bit(SIGUSR1) | bit(3);
    blocked(Some(before)).context("block")?;
    handle(SIGUSR1, note_mask, 0, 0)?;
    raise(SIGUSR1)?;
    let mask = bit(SIGUSR2) | bit(SIGKILL);
    let answer = call(RT_SIGSUSPEND, [&raw const mask as usize, 8, 0, 0, 0, 0]);
    ensure!(answer == Err(Errno::EINTR), "{answer:?}");
    ran(1)?;
    let seen = SEEN.load(Ordering::Relaxed);
    ensure!(seen == bit(SIGUSR2) | bit(SIGUSR1), "mask {seen:#x} in the handler");
    ensure!(blocked(None) == Ok(before), "mask {:x?} afterwards", blocked(None));
    answers(
        RT_SIGSUSPEND,
        &[
            ("a short mask", [&raw const mask as usize, 4, 0, 0, 0, 0], Err(Errno::EINVAL)),
            ("a bad address", [8, 8, 0, 0, 0, 0], Err(Errno::EFAULT)),
        ],
    )
}

/// A child inherits neither pending signals nor an alarm. An executed program keeps both,
/// and the ignored signals, but no handler and no alternate stack.
fn executed() -> Verdict {
    const ALARM: usize = 27;
    const SIGWINCH: usize = 28;
    blocked(Some(bit(SIGUSR1))).context("block")?;
    raise(SIGUSR1)?;
    let child = process::spawn(|| {
        let nothing = pending() == 0 && call(ALARM, [0; 6]) == Ok(0);
        let same = blocked(None) == Ok(bit(SIGUSR1));
        i32::from(!nothing) + 2 * i32::from(!same)
    });
    ends_with("a child", Status::exit(0), child)?;
    handle(SIGWINCH, note_mask, SA_NODEFER, !0)?;
    set_action(SIGUSR2, Some([1, SA_NODEFER, 0, 5])).context("ignore")?;
    alternate_stack(Some(memory_for_stack()?)).context("sigaltstack")?;
    let failed = process::exec(c"/bin/handlers", &[c"handlers", LOOK], &[]);
    Err(alloc::format!("execve: {failed}"))
}

/// The exit status of the program that `executed` becomes: one bit per error.
fn what_is_found() -> i32 {
    const ALARM: usize = 27;
    const SIGWINCH: usize = 28;
    let wrong = [
        blocked(None) != Ok(bit(SIGUSR1)),
        pending() != bit(SIGUSR1),
        set_action(SIGWINCH, None) != Ok([0; 4]),
        set_action(SIGUSR2, None) != Ok([1, 0, 0, 0]),
        alternate_stack(None) != Ok(NO_STACK),
        !call(ALARM, [0; 6]).is_ok_and(|left| left > 0),
    ];
    wrong.iter().enumerate().map(|(at, &wrong)| i32::from(wrong) << at).sum()
}
