//! `faults KIND`: does one forbidden thing, and is killed for it. Without an argument:
//! does each in a child, and checks the signal. `faults codes`: each child handles the
//! signal, and the code that comes with it is checked.
#![no_std]
#![no_main]

extern crate alloc;

use core::arch::asm;

use user::memory::{PAGE, Region, peek, poke};
use user::process::{self, SIGBUS, SIGILL, SIGSEGV, SIGTRAP, Status};
use user::verdict::child_ends;
use user::{Context, Env, Verdict, println, sys};

user::main!(main);

/// A name, the signal and the `si_code` that Linux sends, and the deed.
type Kind = (&'static str, i32, i32, fn());

const SEGV_MAPERR: i32 = 1;
const SEGV_ACCERR: i32 = 2;
const SEGV_BNDERR: i32 = 3;
const ILL_ILLOPC: i32 = 1;
const ILL_PRVOPC: i32 = 5;
const TRAP_BRKPT: i32 = 1;
const BUS_ADRALN: i32 = 1;

/// The first address that the radix tree does not reach.
const BEYOND: usize = 1 << 52;

const KINDS: [Kind; 14] = [
    ("null-read", SIGSEGV, SEGV_MAPERR, || _ = peek(0)),
    // SAFETY: nothing is mapped there.
    ("null-write", SIGSEGV, SEGV_MAPERR, || unsafe { poke(8, 1) }),
    ("text-write", SIGSEGV, SEGV_ACCERR, text_write),
    ("rodata-write", SIGSEGV, SEGV_ACCERR, rodata_write),
    ("data-exec", SIGSEGV, SEGV_ACCERR, data_exec),
    ("kernel-read", SIGSEGV, SEGV_MAPERR, || _ = peek(0xc000_0000_0000_0000)),
    ("beyond-read", SIGSEGV, SEGV_BNDERR, || _ = peek(BEYOND)),
    // SAFETY: no page can be there.
    ("beyond-write", SIGSEGV, SEGV_BNDERR, || unsafe { poke(BEYOND, 1) }),
    ("beyond-exec", SIGSEGV, SEGV_BNDERR, || jump(BEYOND)),
    ("stack-overflow", SIGSEGV, SEGV_MAPERR, || _ = stack_overflow(1)),
    ("illegal", SIGILL, ILL_ILLOPC, illegal),
    ("privileged", SIGILL, ILL_PRVOPC, privileged),
    ("trap", SIGTRAP, TRAP_BRKPT, trap),
    ("unaligned", SIGBUS, BUS_ADRALN, unaligned),
];

fn main(env: &Env) -> Verdict {
    if env.arg(1) == Some("codes") {
        return codes();
    }
    if let Some(name) = env.arg(1) {
        let kind = KINDS.iter().find(|kind| kind.0 == name);
        let (.., deed) = kind.ok_or(name).context("no such kind")?;
        deed();
        return Err("survived".into());
    }
    for (name, signal, _, deed) in KINDS {
        child_ends(name, Status::signal(signal), || {
            deed();
            0
        })?;
        println!("{name}: signal {signal}");
    }
    Ok(())
}

fn codes() -> Verdict {
    let stack = Region::new(STACK_PAGES).context("a stack for the handler")?;
    let stack = [stack.address(), 0, STACK_PAGES * PAGE];
    for (name, signal, code, deed) in KINDS {
        child_ends(name, Status::exit(code), || {
            if handle(signal, stack).is_ok() {
                deed();
            }
            0
        })?;
        println!("{name}: signal {signal}, code {code}");
    }
    Ok(())
}

const STACK_PAGES: usize = 8;

/// Installs a handler for `signal`, on a stack of its own, that exits with the signal's code.
fn handle(signal: i32, stack: [usize; 3]) -> Verdict {
    const RT_SIGACTION: usize = 173;
    const SIGALTSTACK: usize = 185;
    const SA_SIGINFO: usize = 4;
    const SA_ONSTACK: usize = 0x0800_0000;
    let action = [end_with_code as *const () as usize, SA_SIGINFO | SA_ONSTACK, 0, 0];
    // SAFETY: the kernel reads both structures. Nothing else uses the stack, and the
    // handler takes what SA_SIGINFO gives.
    unsafe {
        sys::syscall(SIGALTSTACK, [stack.as_ptr() as usize, 0, 0, 0, 0, 0]).context("sigaltstack")?;
        sys::syscall(RT_SIGACTION, [signal as usize, action.as_ptr() as usize, 0, 8, 0, 0])
            .context("rt_sigaction")?;
    }
    Ok(())
}

unsafe extern "C" fn end_with_code(_: i32, info: *const i32, _: *const u8) {
    // SAFETY: SA_SIGINFO passes `siginfo`, whose third word is the code.
    process::exit_group(unsafe { *info.add(2) });
}

fn text_write() {
    // SAFETY: text is not writable: nothing is changed.
    unsafe { poke(text_write as *const () as usize, 0) };
}

fn rodata_write() {
    static CONSTANT: [u8; 4] = *b"data";
    // SAFETY: constants are not writable: nothing is changed.
    unsafe { poke(CONSTANT.as_ptr() as usize, 0) };
}

/// Calls a `blr` in memory that may be read and written only.
fn data_exec() {
    const BLR: u32 = 0x4e80_0020;
    let Ok(mut region) = Region::new(1) else {
        return;
    };
    region.bytes()[..4].copy_from_slice(&BLR.to_be_bytes());
    // SAFETY: makes memory and instruction fetch agree, so that a missing check is not hidden.
    unsafe { asm!("dcbst 0, {0}", "sync", "icbi 0, {0}", "isync", in(reg) region.address()) };
    jump(region.address());
}

/// Calls the code at `address`: nothing, or a `blr`.
fn jump(address: usize) {
    // SAFETY: should it run, it only returns.
    unsafe { asm!("mtctr {0}", "bctrl", in(reg) address, out("ctr") _, out("lr") _) };
}

#[expect(unconditional_recursion, reason = "the point")]
#[inline(never)]
fn stack_overflow(depth: usize) -> usize {
    let frame = core::hint::black_box([depth; PAGE / 16]);
    stack_overflow(depth + 1) + frame[0]
}

fn illegal() {
    // SAFETY: an all-zero word is illegal by definition of the ISA.
    unsafe { asm!(".long 0") };
}

fn privileged() {
    // SAFETY: would only read the MSR.
    unsafe { asm!("mfmsr {0}", out(reg) _) };
}

fn trap() {
    // SAFETY: an unconditional trap.
    unsafe { asm!("trap") };
}

/// A reserved load must be aligned.
fn unaligned() {
    let words = [0u64; 2];
    // SAFETY: would only read inside `words`.
    unsafe {
        asm!("lwarx {0}, 0, {1}", out(reg) _, in(reg) words.as_ptr() as usize + 2);
    }
}
