//! Kernel stacks.
//!
//! A stack is the upper half of a slot of 32 KiB that is aligned to its size; the lower half is
//! never mapped. So an overflow faults, and bit 14 of the stack pointer tells a good stack from
//! an overflown one. The exception entry tests that bit before it pushes a frame.
//!
//! Stacks are recycled, never unmapped: their translations never go stale. The last word of an
//! idle stack links to the next, so giving a stack back needs no memory.

use arch::addr::{PAGE_SIZE, VirtAddr};
use arch::percpu::{STACK_SIZE, STACK_SLOT};

use super::{frame, kernel_map};
use crate::sync::IrqLock;

/// A kernel stack; dropping it, off the stack, makes it free for the next task.
pub(crate) struct KernelStack {
    top: u64,
}

struct Stacks {
    /// The top of an idle stack, whose last word names another; 0: none.
    first_idle: u64,
    /// How many stacks are idle.
    idle: u64,
    /// How many stacks there are.
    made: u64,
    /// How many slots are used up, by stacks or by attempts that ran out of memory.
    slots: u64,
}

/// Innermost but for the frames' locks. Taken with interrupts off, so that a stack may be dropped
/// in any context.
static STACKS: IrqLock<Stacks> =
    IrqLock::new("kernel stacks", Stacks { first_idle: 0, idle: 0, made: 0, slots: 0 });

impl KernelStack {
    /// A stack with arbitrary contents; none if memory is exhausted.
    pub(crate) fn new() -> Option<KernelStack> {
        let mut stacks = STACKS.lock();
        let top = stacks.take().or_else(|| stacks.make())?;
        Some(KernelStack { top })
    }

    /// The first address above the stack: it grows down from here.
    pub(crate) fn top(&self) -> u64 {
        self.top
    }
}

/// How many stacks are in use.
#[cfg(feature = "selftest")]
pub(super) fn in_use() -> u64 {
    let stacks = STACKS.lock();
    stacks.made - stacks.idle
}

impl Drop for KernelStack {
    fn drop(&mut self) {
        STACKS.lock().put(self.top);
    }
}

/// The last word of the stack that ends at `top`.
fn link(top: u64) -> *mut u64 {
    VirtAddr(top - size_of::<u64>() as u64).as_mut_ptr()
}

impl Stacks {
    /// Takes an idle stack; its top.
    fn take(&mut self) -> Option<u64> {
        let top = self.first_idle;
        if top == 0 {
            return None;
        }
        // SAFETY: an idle stack is ours, mapped for good, and `put` wrote its link.
        self.first_idle = unsafe { link(top).read() };
        self.idle -= 1;
        Some(top)
    }

    /// Gives a stack back that no CPU is on.
    fn put(&mut self, top: u64) {
        // SAFETY: a stack that its owner gives up is ours, and mapped for good.
        unsafe { link(top).write(self.first_idle) };
        self.first_idle = top;
        self.idle += 1;
    }

    /// Maps the stack of the next slot. After a failure half-way the pages mapped so far are lost
    /// with their slot: a few, when none are left anyway.
    fn make(&mut self) -> Option<u64> {
        if !frame::has_spare(STACK_SIZE / PAGE_SIZE) {
            return None;
        }
        let slot = kernel_map::STACKS.start + self.slots * STACK_SLOT;
        let (bottom, top) = (slot + STACK_SLOT - STACK_SIZE, slot + STACK_SLOT);
        if top > kernel_map::STACKS.end {
            return None;
        }
        self.slots += 1;
        for page in (bottom..top).step_by(PAGE_SIZE as usize) {
            kernel_map::map_new_page(VirtAddr(page)).ok()?;
        }
        self.made += 1;
        Some(top)
    }
}
