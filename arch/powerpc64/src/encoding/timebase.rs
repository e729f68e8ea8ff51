//! Timebase ticks and nanoseconds: a multiplication and a shift either way.
//!
//! The frequency is only known at boot. Dividing by it each time would call into
//! a 128-bit division routine; the two factors are computed once instead.

const NS_PER_S: u64 = 1_000_000_000;

/// The rate of the timebase, with the factors of the conversions.
///
/// Both conversions round down and are exact to one part in 2^31. At 512 MHz,
/// ticks to nanoseconds is 125/64, and that conversion is exact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timebase {
    hz: u64,
    /// Nanoseconds in a tick, times 2^32.
    ns_per_tick: u64,
    /// Ticks in a nanosecond, times 2^32.
    ticks_per_ns: u64,
}

impl Timebase {
    /// A timebase of `hz` ticks per second. Real ones run at 512 MHz; 0 counts as 1.
    #[must_use]
    pub const fn new(hz: u32) -> Self {
        let hz = if hz == 0 { 1 } else { hz as u64 };
        Self { hz, ns_per_tick: (NS_PER_S << 32) / hz, ticks_per_ns: (hz << 32) / NS_PER_S }
    }

    /// Ticks per second.
    #[must_use]
    pub const fn hz(&self) -> u64 {
        self.hz
    }

    /// Whole ticks per microsecond.
    #[must_use]
    pub const fn ticks_per_us(&self) -> u64 {
        self.hz / 1_000_000
    }

    /// Ticks to nanoseconds, saturating (after 584 years).
    #[inline]
    #[must_use]
    pub const fn tb_to_ns(&self, ticks: u64) -> u64 {
        scale(ticks, self.ns_per_tick)
    }

    /// Nanoseconds to ticks, saturating.
    #[inline]
    #[must_use]
    pub const fn ns_to_tb(&self, ns: u64) -> u64 {
        scale(ns, self.ticks_per_ns)
    }
}

/// `value * factor / 2^32`, saturating.
#[inline]
const fn scale(value: u64, factor: u64) -> u64 {
    let product = (value as u128 * factor as u128) >> 32;
    if product > u64::MAX as u128 { u64::MAX } else { product as u64 }
}

/// The value of a decrementer of `bits` bits that turns negative at `deadline`:
/// at least 1, at most its largest positive value.
///
/// A deadline beyond the decrementer's reach gives an early interrupt. Its
/// handler compares with the timebase anyway.
#[inline]
#[must_use]
pub const fn decrementer(now: u64, deadline: u64, bits: u32) -> u64 {
    let max = (1 << (bits - 1)) - 1;
    let ticks = deadline.saturating_sub(now);
    if ticks == 0 {
        1
    } else if ticks > max {
        max
    } else {
        ticks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TB: Timebase = Timebase::new(512_000_000);

    #[test]
    fn known_values() {
        assert_eq!(TB.hz(), 512_000_000);
        assert_eq!(TB.ticks_per_us(), 512);
        assert_eq!(TB.tb_to_ns(512), 1000);
        assert_eq!(TB.tb_to_ns(1), 1);
        assert_eq!(TB.tb_to_ns(512_000_000 * 3600), 3_600_000_000_000);
        assert_eq!(TB.ns_to_tb(0), 0);
    }

    #[test]
    fn nanoseconds_to_ticks_is_close() {
        for ns in [1000, 1_000_000, 1_000_000_000, 86_400_000_000_000] {
            let exact = ns * 512 / 1000;
            let error = exact - TB.ns_to_tb(ns);
            assert!(error <= 1 + exact / (1 << 31), "{ns} ns: {error} ticks off");
        }
    }

    #[test]
    fn extremes_saturate() {
        assert_eq!(TB.tb_to_ns(u64::MAX), u64::MAX);
        assert_eq!(TB.ns_to_tb(u64::MAX), scale(u64::MAX, TB.ticks_per_ns));
        assert_eq!(Timebase::new(0).tb_to_ns(u64::MAX), u64::MAX);
        assert_eq!(Timebase::new(u32::MAX).ns_to_tb(u64::MAX), u64::MAX);
    }

    #[test]
    fn the_decrementer_is_never_negative() {
        assert_eq!(decrementer(100, 150, 56), 50);
        assert_eq!(decrementer(100, 100, 56), 1);
        assert_eq!(decrementer(100, 1, 56), 1);
        assert_eq!(decrementer(0, u64::MAX, 56), (1 << 55) - 1);
        assert_eq!(decrementer(0, u64::MAX, 32), 0x7fff_ffff);
        assert_eq!(decrementer(0, u64::MAX, 64), u64::MAX >> 1);
        // At its reach, around it, and at the ends of time.
        let most = (1 << 32) - 1;
        for (ticks, loaded) in [(1, 1), (2, 2), (most - 1, most - 1), (most, most), (most + 1, most)] {
            assert_eq!(decrementer(100, 100 + ticks, 33), loaded);
            assert_eq!(decrementer(u64::MAX - ticks, u64::MAX, 33), loaded);
        }
        assert_eq!(decrementer(u64::MAX, 0, 33), 1);
    }
}
