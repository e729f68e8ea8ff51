//! Kernel stacks.
//!
//! A stack is the upper half of a slot of 32 KiB that is aligned to its size;
//! the lower half is never mapped. So an overflow faults, and bit 14 of the stack
//! pointer tells a good one from an overflown one, which the exception entry
//! tests before it pushes a frame.
//!
//! Stacks are recycled, never unmapped: no translation of theirs is ever stale.

use alloc::vec::Vec;

use powerpc64::addr::{PAGE_SIZE, VirtAddr};
use powerpc64::percpu::{STACK_SIZE, STACK_SLOT};

use super::{frame, kernel_map};
use crate::sync::IrqLock;

/// A kernel stack; dropping it, off the stack, makes it free for the next task.
pub(crate) struct KernelStack {
    top: u64,
}

struct Stacks {
    /// Tops of the stacks that nobody uses. Its capacity is at least the number of
    /// stacks, so that giving one back never allocates.
    idle: Vec<u64>,
    /// How many slots have been handed out first-hand.
    made: u64,
}

/// Innermost but for the heap's lock and the kernel page tables'. With interrupts
/// off, so that a stack may be dropped anywhere.
static STACKS: IrqLock<Stacks> = IrqLock::new("kernel stacks", Stacks { idle: Vec::new(), made: 0 });

impl KernelStack {
    /// A stack with arbitrary contents; none if memory is exhausted.
    pub(crate) fn new() -> Option<KernelStack> {
        let mut stacks = STACKS.lock();
        let top = match stacks.idle.pop() {
            Some(top) => top,
            None => stacks.make()?,
        };
        Some(KernelStack { top })
    }

    /// The first address above the stack: it grows down from here.
    pub(crate) fn top(&self) -> u64 {
        self.top
    }
}

impl Drop for KernelStack {
    fn drop(&mut self) {
        STACKS.lock().idle.push(self.top);
    }
}

impl Stacks {
    /// Maps the stack of the next slot. What a failure half-way has mapped is
    /// lost with its slot: a few pages, when there are none left anyway.
    fn make(&mut self) -> Option<u64> {
        if !frame::has_spare(STACK_SIZE / PAGE_SIZE) {
            return None;
        }
        let made = self.made as usize + 1;
        self.idle.try_reserve(made - self.idle.len()).ok()?;
        let slot = kernel_map::STACKS.start + self.made * STACK_SLOT;
        let (bottom, top) = (slot + STACK_SLOT - STACK_SIZE, slot + STACK_SLOT);
        if top > kernel_map::STACKS.end {
            return None;
        }
        self.made += 1;
        for page in (bottom..top).step_by(PAGE_SIZE as usize) {
            kernel_map::map_new_page(VirtAddr(page)).ok()?;
        }
        Some(top)
    }
}
