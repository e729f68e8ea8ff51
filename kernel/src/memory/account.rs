//! The memory that the kernel uses.
//!
//! Heap and kernel stacks keep the frames that they once got, so the number of free frames falls
//! as they grow and says little. An account counts the frames of both as available, and memory
//! handed out of them as used: a test that gives all back finds its first account again.

use arch::addr::PAGE_SIZE;
use arch::percpu::STACK_SIZE;

use super::{frame, heap, kernel_map, kstack};

/// Memory at one moment; exact if no CPU allocates or frees meanwhile.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Account {
    /// Frames that are free, or kept by heap and stacks and used by no stack.
    pub(crate) available_frames: u64,
    /// Bytes of the heap that are handed out.
    pub(crate) heap_bytes: usize,
}

impl Account {
    /// Takes stock. Any context.
    pub(crate) fn now() -> Account {
        let on_stacks = kstack::in_use() * (STACK_SIZE / PAGE_SIZE);
        Account {
            available_frames: frame::free_count() + kernel_map::area_frames() - on_stacks,
            heap_bytes: heap::bytes_in_use(),
        }
    }
}
