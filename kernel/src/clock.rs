//! The clocks that programs see: one since boot, one since 1970.
//!
//! The machine's calendar is not read, so that a run can be repeated with its times: the machine
//! boots at midnight, 1 January 1970.

use arch::timer;

/// AT_CLKTCK: ticks per second in the times calls.
pub(crate) const TICKS_PER_S: u64 = 100;

/// Nanoseconds since the time base was 0, which was before boot.
pub(crate) fn monotonic_ns() -> u64 {
    timer::timebase().tb_to_ns(timer::now_tb())
}

/// Nanoseconds since 1970.
pub(crate) fn realtime_ns() -> u64 {
    monotonic_ns()
}

/// Microseconds since the time base was 0.
pub(crate) fn uptime_us() -> u64 {
    monotonic_ns() / 1000
}

/// Converts time-base units to the ticks of the times calls.
pub(crate) fn ticks(tb: u64) -> u64 {
    (u128::from(tb) * u128::from(TICKS_PER_S) / u128::from(timer::timebase().hz())) as u64
}
