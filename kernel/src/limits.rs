//! Limits of waiting: after such a time a waiting CPU takes the kernel to be broken, and the
//! kernel reports and ends.
//!
//! All are far longer than a crowded host delays a healthy kernel. Test builds shorten them
//! (`watchdog=MS`) to provoke each in a moment.

#[cfg(feature = "selftest")]
use core::sync::atomic::{AtomicU64, Ordering};

/// A spin lock's holder runs a few hundred instructions with preemption off.
const SPIN_MS: u64 = 20_000;
/// A task that is asked to yield does so when it turns preemption on. A CPU takes an interrupt
/// when it turns interrupts on. Both are a matter of microseconds.
const STAY_MS: u64 = 10_000;

/// The limit of the command line, in milliseconds; 0 for none.
#[cfg(feature = "selftest")]
static SHORTENED_MS: AtomicU64 = AtomicU64::new(0);

/// Makes all limits `ms` milliseconds long. At boot.
#[cfg(feature = "selftest")]
pub(crate) fn shorten(ms: u64) {
    SHORTENED_MS.store(ms, Ordering::Relaxed);
}

/// The limit of a spin, in milliseconds.
pub(crate) fn spin_ms() -> u64 {
    or_shorter(SPIN_MS)
}

/// How long a task may stay that should have yielded, and a CPU may not take an interrupt, in
/// milliseconds.
pub(crate) fn stay_ms() -> u64 {
    or_shorter(STAY_MS)
}

/// How long a CPU may take to answer a cross-call, in milliseconds.
pub(crate) fn call_ms() -> u64 {
    or_shorter(kcore::ipi::PANIC_AFTER_MS)
}

#[cfg(feature = "selftest")]
fn or_shorter(usual_ms: u64) -> u64 {
    match SHORTENED_MS.load(Ordering::Relaxed) {
        0 => usual_ms,
        shortened_ms => shortened_ms,
    }
}

#[cfg(not(feature = "selftest"))]
fn or_shorter(usual_ms: u64) -> u64 {
    usual_ms
}
