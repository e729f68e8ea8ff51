//! Stand-in until the real one is merged.
use core::arch::asm;
/// Timebase.
#[inline]
pub fn mftb() -> u64 {
    let tb;
    // SAFETY: reads a counter.
    unsafe { asm!("mfspr {}, 268", out(reg) tb, options(nomem, nostack, preserves_flags)) };
    tb
}
