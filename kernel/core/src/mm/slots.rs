//! Which slots of the table of address spaces, and so which PIDs, are free.

use alloc::boxed::Box;

use crate::mm::MmId;

/// A bitmap of free slots; guarded by a spin lock in [`crate::LazyTlb`].
pub(crate) struct Slots {
    free: Box<[u64]>,
    /// No word before this one has a free slot.
    first: usize,
}

impl Slots {
    /// `n` slots, of which those up to `init_mm`'s are taken for good.
    pub(crate) fn new(n: usize) -> Self {
        let mut slots = Self { free: (0..n.div_ceil(64)).map(|_| 0).collect(), first: 0 };
        (MmId::INIT_MM.slot() + 1..n).for_each(|slot| slots.give_back(slot));
        slots
    }

    /// Takes the lowest free slot.
    pub(crate) fn take_lowest(&mut self) -> Option<usize> {
        while let Some(word) = self.free.get_mut(self.first) {
            if *word != 0 {
                let bit = word.trailing_zeros() as usize;
                *word &= *word - 1;
                return Some(self.first * 64 + bit);
            }
            self.first += 1;
        }
        None
    }

    /// Gives a slot back. Panics if it is free already.
    pub(crate) fn give_back(&mut self, slot: usize) {
        let (word, bit) = (slot / 64, 1 << (slot % 64));
        assert!(self.free[word] & bit == 0, "mm slot {slot} freed twice");
        self.free[word] |= bit;
        self.first = self.first.min(word);
    }
}
