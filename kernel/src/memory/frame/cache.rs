//! A CPU's own store of single frames.
//!
//! It hands out the frame that was freed last, which is still in the CPU's data cache. It takes
//! from and returns to the buddy allocator a batch at a time.
//!
//! Beside them it keeps two blocks that were freed full of zeroes, roots of page tables: to poison
//! and clear one costs thousands of instructions. An exec has two roots for a while.

use vm::buddy::Buddy;

use super::{FrameNumber, poison};
use crate::sync::IrqLock;

/// The most frames that a cache holds.
const CAPACITY: usize = 64;
/// How many move to or from the buddy allocator at a time.
pub(super) const BATCH: usize = 1 << BATCH_ORDER;
const BATCH_ORDER: usize = 5;

/// log2 of the frames of the block of zeroes: 64 KiB.
pub(super) const ZEROES_ORDER: u32 = 4;

/// The cache of one CPU; on cache lines of its own.
#[repr(align(128))]
pub(super) struct Cache {
    len: usize,
    frames: [FrameNumber; CAPACITY],
    /// The first frames of free blocks of zeroes, whose frames are not poisoned.
    zeroes: [Option<FrameNumber>; 2],
}

impl Cache {
    /// An empty cache.
    pub(super) const fn new() -> Self {
        Self { len: 0, frames: [0; CAPACITY], zeroes: [None; 2] }
    }

    /// How many frames it holds.
    pub(super) fn len(&self) -> usize {
        self.len + (self.zeroes.iter().flatten().count() << ZEROES_ORDER)
    }

    /// Takes a block of zeroes out.
    pub(super) fn take_zeroes(&mut self) -> Option<FrameNumber> {
        self.zeroes.iter_mut().find_map(Option::take)
    }

    /// Puts a free block of zeroes in, or gives it back if there is no room.
    pub(super) fn put_zeroes(&mut self, first: FrameNumber, buddy: &IrqLock<Buddy<'_>>) {
        match self.zeroes.iter_mut().find(|kept| kept.is_none()) {
            Some(room) => *room = Some(first),
            None => give_back(first, buddy),
        }
    }

    /// Takes a frame out, after a refill if need be; none if the buddy allocator
    /// has no more than `left` either.
    #[inline]
    pub(super) fn take(&mut self, buddy: &IrqLock<Buddy<'_>>, left: u64) -> Option<FrameNumber> {
        if self.len == 0 {
            self.refill(buddy, left);
        }
        self.len = self.len.checked_sub(1)?;
        Some(self.frames[self.len])
    }

    /// Puts a free frame in.
    #[inline]
    pub(super) fn put(&mut self, frame: FrameNumber, buddy: &IrqLock<Buddy<'_>>) {
        if self.len == CAPACITY {
            self.spill(BATCH, buddy);
        }
        self.frames[self.len] = frame;
        self.len += 1;
    }

    /// Gives all frames back.
    pub(super) fn drain(&mut self, buddy: &IrqLock<Buddy<'_>>) {
        self.spill(self.len, buddy);
        while let Some(zeroes) = self.take_zeroes() {
            give_back(zeroes, buddy);
        }
    }

    #[cold]
    fn refill(&mut self, buddy: &IrqLock<Buddy<'_>>, left: u64) {
        let mut buddy = buddy.lock();
        // A batch may take a few frames more: `left` need not be exact.
        if buddy.free_frames() <= left {
            return;
        }
        self.len = buddy.alloc_singles(&mut self.frames[..BATCH]);
        if self.len > 0 {
            return;
        }
        // One block is cheaper than many frames, but only smaller blocks may be left.
        for order in (0..=BATCH_ORDER).rev() {
            let Some(first) = buddy.alloc(order) else { continue };
            // Handed out in ascending order.
            self.len = 1 << order;
            for (slot, frame) in self.frames[..self.len].iter_mut().rev().zip(first..) {
                *slot = frame;
            }
            return;
        }
    }

    /// Gives back the `n` frames that came first, the coldest.
    #[cold]
    fn spill(&mut self, n: usize, buddy: &IrqLock<Buddy<'_>>) {
        buddy.lock().free_singles(&self.frames[..n]);
        self.frames.copy_within(n..self.len, 0);
        self.len -= n;
    }
}

/// Gives a block of zeroes back.
#[cold]
fn give_back(first: FrameNumber, buddy: &IrqLock<Buddy<'_>>) {
    (first..first + (1 << ZEROES_ORDER)).for_each(poison::write);
    buddy.lock().free(first, ZEROES_ORDER as usize);
}
