//! `faults KIND`: does one forbidden thing, and is killed for it.
//! Without an argument: does each in a child, and checks the signal.
#![no_std]
#![no_main]

extern crate alloc;

use core::arch::asm;

use user::memory::{PAGE, Region, peek, poke};
use user::process::{SIGBUS, SIGILL, SIGSEGV, SIGTRAP, Status};
use user::verdict::child_ends;
use user::{Context, Env, Verdict, println};

user::main!(main);

/// A name, the signal that Linux sends, and the deed.
type Kind = (&'static str, i32, fn());

const KINDS: [Kind; 11] = [
    ("null-read", SIGSEGV, || _ = peek(0)),
    // SAFETY: nothing is mapped there.
    ("null-write", SIGSEGV, || unsafe { poke(8, 1) }),
    ("text-write", SIGSEGV, text_write),
    ("rodata-write", SIGSEGV, rodata_write),
    ("data-exec", SIGSEGV, data_exec),
    ("kernel-read", SIGSEGV, || _ = peek(0xc000_0000_0000_0000)),
    ("stack-overflow", SIGSEGV, || _ = stack_overflow(1)),
    ("illegal", SIGILL, illegal),
    ("privileged", SIGILL, privileged),
    ("trap", SIGTRAP, trap),
    ("unaligned", SIGBUS, unaligned),
];

fn main(env: &Env) -> Verdict {
    if let Some(name) = env.arg(1) {
        let kind = KINDS.iter().find(|kind| kind.0 == name);
        let (_, _, deed) = kind.ok_or(name).context("no such kind")?;
        deed();
        return Err("survived".into());
    }
    for (name, signal, deed) in KINDS {
        child_ends(name, Status::signal(signal), || {
            deed();
            0
        })?;
        println!("{name}: signal {signal}");
    }
    Ok(())
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
    // SAFETY: should it run, it only returns. dcbst/icbi make memory and
    // instruction fetch agree, so that a missing check is not hidden.
    unsafe {
        asm!("dcbst 0, {code}", "sync", "icbi 0, {code}", "isync",
            "mtctr {code}", "bctrl",
            code = in(reg) region.address(), out("ctr") _, out("lr") _);
    }
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
    // SAFETY: reads the MSR, if it were allowed.
    unsafe { asm!("mfmsr {0}", out(reg) _) };
}

fn trap() {
    // SAFETY: an unconditional trap.
    unsafe { asm!("trap") };
}

/// A reserved load must be aligned.
fn unaligned() {
    let words = [0u64; 2];
    // SAFETY: reads inside `words`, if it were allowed.
    unsafe {
        asm!("lwarx {0}, 0, {1}", out(reg) _, in(reg) words.as_ptr() as usize + 2);
    }
}
