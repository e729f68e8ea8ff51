//! What memory the kernel uses.
//!
//! Heap and kernel stacks keep the frames that they once got, so the number of free
//! frames goes down as they grow and says little. Here the frames of both count as
//! available, what is handed out of them counts as used, and then what was there
//! before must be there again after.

use arch::addr::PAGE_SIZE;
use arch::percpu::STACK_SIZE;

use super::{frame, heap, kernel_map, kstack};

/// Memory at one moment; exact if nobody allocates or frees meanwhile.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Account {
    /// Frames that are free, or in the keeping of heap and stacks and used by no
    /// stack.
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
