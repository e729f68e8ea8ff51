//! Random numbers that a seed repeats.

use core::sync::atomic::{AtomicU64, Ordering};

/// The seed of this run: `seed=` of the command line, or the time of the first use.
static SEED: AtomicU64 = AtomicU64::new(0);

/// Sets the seed.
pub(super) fn set_seed(seed: u64) {
    SEED.store(seed, Ordering::Relaxed);
}

/// The seed of this run, to print.
pub(super) fn seed() -> u64 {
    let now = arch::timer::now_tb().max(1);
    match SEED.compare_exchange(0, now, Ordering::Relaxed, Ordering::Relaxed) {
        Ok(_) => now,
        Err(set) => set,
    }
}

/// A sequence (SplitMix64).
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Random(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// Less than `n`.
    pub(super) fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }
}
