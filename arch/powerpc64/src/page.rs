//! Whole pages: clear and copy.

use crate::addr::{PAGE_SIZE, PhysAddr};
use core::arch::asm;

/// Bytes that one `dcbz` clears (POWER9, POWER10; the device tree agrees).
const CACHE_BLOCK: usize = 128;

/// Clears the page at `page`.
///
/// # Safety
/// The page is memory that the caller owns.
pub unsafe fn clear(page: PhysAddr) {
    let start: *mut u8 = page.as_mut_ptr();
    // Every page that a program sees is cleared here, so a turn clears four blocks.
    // SAFETY: the turns cover the caller's page and no more.
    unsafe {
        asm!(
            "mtctr {turns}",
            "2:",
            "dcbz 0, {at}", "dcbz {b}, {at}", "dcbz {c}, {at}", "dcbz {d}, {at}",
            "addi {at}, {at}, 4 * {block}",
            "bdnz 2b",
            turns = in(reg) PAGE_SIZE as usize / (4 * CACHE_BLOCK),
            at = inout(reg_nonzero) start => _,
            b = in(reg_nonzero) CACHE_BLOCK,
            c = in(reg_nonzero) 2 * CACHE_BLOCK,
            d = in(reg_nonzero) 3 * CACHE_BLOCK,
            block = const CACHE_BLOCK,
            out("ctr") _,
            options(nostack),
        );
    }
}

/// Copies a page. The pages do not overlap.
///
/// # Safety
/// `to` is memory that the caller owns, `from` memory that nothing writes.
pub unsafe fn copy(to: PhysAddr, from: PhysAddr) {
    let (to, from): (*mut u64, *const u64) = (to.as_mut_ptr(), from.as_mut_ptr());
    // SAFETY: 64 turns of 64 bytes. The registers are all declared; r3 and r4 end
    // at the last block. Without vectors 8 bytes are the widest access there is.
    unsafe {
        asm!(
            "mtctr {turns}",
            "2:",
            "ld {a}, 0({from})", "ld {b}, 8({from})", "ld {c}, 16({from})", "ld {d}, 24({from})",
            "ld {e}, 32({from})", "ld {f}, 40({from})", "ld {g}, 48({from})", "ld {h}, 56({from})",
            "std {a}, 0({to})", "std {b}, 8({to})", "std {c}, 16({to})", "std {d}, 24({to})",
            "std {e}, 32({to})", "std {f}, 40({to})", "std {g}, 48({to})", "std {h}, 56({to})",
            "addi {from}, {from}, 64",
            "addi {to}, {to}, 64",
            "bdnz 2b",
            turns = in(reg) PAGE_SIZE / 64,
            from = inout(reg_nonzero) from => _,
            to = inout(reg_nonzero) to => _,
            a = out(reg) _, b = out(reg) _, c = out(reg) _, d = out(reg) _,
            e = out(reg) _, f = out(reg) _, g = out(reg) _, h = out(reg) _,
            out("ctr") _,
            options(nostack),
        );
    }
}
