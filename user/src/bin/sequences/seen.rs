//! The result of a step, in sixteen bits: the kind in the upper eight, its detail in
//! the lower. `qemu-scripts/sequences_format.py` has equal numbers.

use user::Errno;
use user::process::{SIGBUS, SIGILL, SIGSEGV};

/// The result.
pub(crate) type Seen = u16;

/// A call failed, with this errno.
pub(crate) const ERRNO: Seen = 0x100;
/// SIGSEGV, with this code.
const SEGV: Seen = 0x200;
/// SIGBUS, with this code.
const BUS: Seen = 0x300;
/// SIGILL: zeroes were fetched.
const ILL: Seen = 0x400;
/// A word that no step has stored.
const GARBAGE: Seen = 0x600;
/// Nothing for a long time.
pub(crate) const NO_ANSWER: Seen = 0x700;
/// This signal where no step asks for it.
pub(crate) const STRAY_FAULT: Seen = 0x800;
/// A process ended otherwise than by its step.
pub(crate) const BAD_END: Seen = 0x900;
/// The end of a file.
pub(crate) const END_OF_FILE: Seen = 0xa00;
/// A call moved more or less than one word.
pub(crate) const SHORT: Seen = 0xb00;

/// A function that returns a number: `li r3, 0` and `blr`.
const RETURN: u64 = 0x3860_0000_4e80_0020;

/// The word that stands for `value`: code that returns it, zeroes for 0.
pub(crate) fn word_of(value: u8) -> u64 {
    if value == 0 { 0 } else { RETURN | u64::from(value) << 32 }
}

/// The result for a word in memory.
pub(crate) fn word(word: u64) -> Seen {
    let value = (word >> 32) as u8;
    if word == word_of(value) { value.into() } else { GARBAGE }
}

/// The result for a fault.
pub(crate) fn fault(signal: i32, code: i32) -> Seen {
    match signal {
        SIGSEGV => SEGV | code as u8 as Seen,
        SIGBUS => BUS | code as u8 as Seen,
        SIGILL => ILL,
        _ => STRAY_FAULT | signal as Seen,
    }
}

/// The result for a call that returns no value.
pub(crate) fn done(result: Result<usize, Errno>) -> Seen {
    match result {
        Ok(_) => 0,
        Err(errno) => ERRNO | errno.0 as Seen,
    }
}
