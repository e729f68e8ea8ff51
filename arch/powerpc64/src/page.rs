//! Whole pages: clear and copy. And the byte routines that the compiler calls.

use crate::addr::{PAGE_SIZE, PhysAddr};
use core::arch::{asm, global_asm};

global_asm!(include_str!("bytes.S"));

/// Bytes that one `dcbz` clears (POWER9, POWER10; the device tree agrees).
const CACHE_BLOCK: usize = 128;

/// What one `dcbz` clears.
pub type Line = [u64; CACHE_BLOCK / size_of::<u64>()];

/// Clears the page at `page`.
///
/// # Safety
/// The page is memory that the caller owns.
#[inline]
pub unsafe fn clear(page: PhysAddr) {
    let start: *mut u8 = page.as_mut_ptr();
    // Every page that a program sees is cleared here, so there is no loop.
    // SAFETY: the repetitions cover the caller's page and no more.
    unsafe {
        asm!(
            ".rept {times}",
            "dcbz 0, {at}", "dcbz {b}, {at}", "dcbz {c}, {at}", "dcbz {d}, {at}",
            "addi {at}, {at}, 4 * {block}",
            ".endr",
            times = const PAGE_SIZE as usize / (4 * CACHE_BLOCK),
            at = inout(reg_nonzero) start => _,
            b = in(reg_nonzero) CACHE_BLOCK,
            c = in(reg_nonzero) 2 * CACHE_BLOCK,
            d = in(reg_nonzero) 3 * CACHE_BLOCK,
            block = const CACHE_BLOCK,
            options(nostack, preserves_flags),
        );
    }
}

/// Stores `word` in all of `line`.
///
/// # Safety
/// The line is memory that the caller owns.
#[inline]
pub unsafe fn fill(line: *mut Line, word: u64) {
    // SAFETY: 128 bytes, aligned as quadwords must be.
    unsafe {
        asm!(
            "stq 10, 0({line})", "stq 10, 16({line})", "stq 10, 32({line})", "stq 10, 48({line})",
            "stq 10, 64({line})", "stq 10, 80({line})", "stq 10, 96({line})", "stq 10, 112({line})",
            line = in(reg_nonzero) line,
            in("r10") word, in("r11") word,
            options(nostack, preserves_flags),
        );
    }
}

/// The bits in which some word of `line` differs from `word`: 0 if none does. What it loads is
/// really in memory, whatever the compiler knows of the line.
///
/// # Safety
/// The line is readable.
#[inline]
#[must_use]
pub unsafe fn difference(line: *const Line, word: u64) -> u64 {
    let mut bits = 0;
    // Few registers: each one that this takes is saved by the page fault that it is inlined into.
    // SAFETY: 128 bytes, aligned as quadwords must be; the registers are all declared.
    unsafe {
        asm!(
            ".irp at, 0, 32, 64, 96",
            "lq 8, \\at({line})", "lq 10, \\at + 16({line})",
            "xor 8, 8, {word}", "xor 9, 9, {word}", "xor 10, 10, {word}", "xor 11, 11, {word}",
            "or 8, 8, 9", "or 10, 10, 11", "or 8, 8, 10", "or {bits}, {bits}, 8",
            ".endr",
            line = in(reg_nonzero) line,
            word = in(reg) word,
            bits = inout(reg) bits,
            out("r8") _, out("r9") _, out("r10") _, out("r11") _,
            options(nostack, readonly, preserves_flags),
        );
    }
    bits
}

/// Copies a page. The pages do not overlap.
///
/// # Safety
/// `to` is memory that the caller owns, `from` memory that nothing writes.
pub unsafe fn copy(to: PhysAddr, from: PhysAddr) {
    let (to, from): (*mut u64, *const u64) = (to.as_mut_ptr(), from.as_mut_ptr());
    // SAFETY: 8 turns of 512 bytes, aligned as quadwords must be. The registers are all
    // declared; `to` and `from` end behind the last block. Without vectors a quadword, in an even
    // register and the next, is the widest access there is.
    unsafe {
        asm!(
            "mtctr {turns}",
            "2:",
            ".irp at, 0, 64, 128, 192, 256, 320, 384, 448",
            "lq 4, \\at({from})", "lq 6, \\at+16({from})", "lq 8, \\at+32({from})", "lq 10, \\at+48({from})",
            "stq 4, \\at({to})", "stq 6, \\at+16({to})", "stq 8, \\at+32({to})", "stq 10, \\at+48({to})",
            ".endr",
            "addi {from}, {from}, 512",
            "addi {to}, {to}, 512",
            "bdnz 2b",
            turns = in(reg) PAGE_SIZE / 512,
            from = inout(reg_nonzero) from => _,
            to = inout(reg_nonzero) to => _,
            out("r4") _, out("r5") _, out("r6") _, out("r7") _,
            out("r8") _, out("r9") _, out("r10") _, out("r11") _,
            out("ctr") _,
            options(nostack),
        );
    }
}
