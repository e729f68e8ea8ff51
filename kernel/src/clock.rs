//! The clocks that programs see: one since boot, one since 1970.

use core::sync::atomic::{AtomicU64, Ordering};

use powerpc64::timer;

/// What the clock since 1970 showed when the one since boot showed 0.
static REALTIME_AT_BOOT_NS: AtomicU64 = AtomicU64::new(0);

/// Nanoseconds since the time base was 0, which was before boot.
pub(crate) fn monotonic_ns() -> u64 {
    timer::timebase().tb_to_ns(timer::now_tb())
}

/// Nanoseconds since 1970, if the machine told the time; else since boot.
pub(crate) fn realtime_ns() -> u64 {
    // Relaxed: set once, before there are programs.
    REALTIME_AT_BOOT_NS.load(Ordering::Relaxed) + monotonic_ns()
}
