//! Time: the timebase counts up, the decrementer interrupts (0x900).
//!
//! All CPUs see one timebase. Each has its own decrementer, and no way to turn it
//! off: "no deadline" is a deadline that is far away.

use core::cell::UnsafeCell;

use crate::encoding::timebase::{self, Timebase};
use crate::isa;
use crate::reg::spr;

/// The device tree's facts about time.
#[derive(Clone, Copy)]
struct Clock {
    timebase: Timebase,
    decrementer_bits: u32,
}

/// Written once, by [`init`]; plain loads afterwards.
struct BootClock(UnsafeCell<Clock>);

// SAFETY: the only write is on the boot CPU before any other CPU runs; starting a
// CPU orders that write before everything the other CPU does.
unsafe impl Sync for BootClock {}

static CLOCK: BootClock =
    BootClock(UnsafeCell::new(Clock { timebase: Timebase::new(512_000_000), decrementer_bits: 32 }));

/// Sets the rates. Boot CPU, before kmain.
pub(crate) fn init(timebase_hz: u32, decrementer_bits: u32) {
    let clock = Clock { timebase: Timebase::new(timebase_hz), decrementer_bits };
    // SAFETY: no other CPU runs yet, and nothing keeps a reference.
    unsafe { CLOCK.0.get().write(clock) };
}

#[inline]
fn clock() -> Clock {
    // SAFETY: see `BootClock`.
    unsafe { CLOCK.0.get().read() }
}

/// The timebase's rate and the conversions from and to nanoseconds.
#[inline]
#[must_use]
pub fn timebase() -> Timebase {
    clock().timebase
}

/// Ticks since the machine started. Never runs backwards, on any CPU.
#[inline]
#[must_use]
pub fn now_tb() -> u64 {
    isa::mftb()
}

/// Whole ticks per microsecond.
#[inline]
#[must_use]
pub fn ticks_per_us() -> u64 {
    clock().timebase.ticks_per_us()
}

/// Arms this CPU's decrementer for the time `deadline_tb`; `u64::MAX` for none.
///
/// It may come early where the decrementer is narrow, and comes at once if the
/// deadline has passed. The handler of 0x900 must arm it again: the interrupt
/// lasts as long as the decrementer is negative.
#[inline]
pub fn set_deadline_tb(deadline_tb: u64) {
    let ticks = timebase::decrementer(isa::mftb(), deadline_tb, clock().decrementer_bits);
    // SAFETY: changes when this CPU's next timer interrupt comes, nothing else.
    unsafe { isa::mtspr::<{ spr::DEC }>(ticks) };
}
