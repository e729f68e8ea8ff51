//! The monotonic clock: reading it, sleeping on it.

use core::time::Duration;

use crate::sys::{Errno, nr, syscall};

const CLOCK_MONOTONIC: usize = 1;

/// Seconds and nanoseconds, as the kernel takes them.
#[repr(C)]
pub(crate) struct Timespec {
    seconds: u64,
    nanoseconds: u64,
}

impl From<Duration> for Timespec {
    fn from(time: Duration) -> Self {
        Self { seconds: time.as_secs(), nanoseconds: u64::from(time.subsec_nanos()) }
    }
}

/// Time since some fixed moment in the past.
///
/// # Panics
/// If the kernel has no monotonic clock.
#[must_use]
pub fn now() -> Duration {
    let mut time = Timespec::from(Duration::ZERO);
    let args = [CLOCK_MONOTONIC, &raw mut time as usize, 0, 0, 0, 0];
    // SAFETY: the kernel writes the two numbers.
    unsafe { syscall(nr::CLOCK_GETTIME, args) }.expect("clock_gettime");
    Duration::new(time.seconds, time.nanoseconds as u32)
}

/// Sleeps for at least `time`.
///
/// # Errors
/// `EINTR` if a signal came first.
pub fn sleep(time: Duration) -> Result<(), Errno> {
    let time = Timespec::from(time);
    let args = [CLOCK_MONOTONIC, 0, &raw const time as usize, 0, 0, 0];
    // SAFETY: the kernel only reads the time.
    unsafe { syscall(nr::CLOCK_NANOSLEEP, args) }.map(drop)
}
