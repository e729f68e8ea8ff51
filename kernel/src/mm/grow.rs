//! Stacks that grow: what is touched below them is made part of them.

use super::address_space::Map;
use super::heap;
use super::mmap::{LOWEST, STACK_MAX};

/// What moving an area in the tree of areas can cost on the heap.
const HEAP_BYTES: usize = 4 << 10;

/// The soft RLIMIT_STACK, in bytes.
fn stack_limit() -> u64 {
    STACK_MAX
}

impl Map {
    /// Whether the stack above `addr`, at which nothing is mapped, has grown to hold it.
    #[cold]
    pub(super) fn grow_stack(&mut self, addr: u64) -> bool {
        heap::ensure_room(HEAP_BYTES) && self.areas.grow_down(addr, LOWEST, stack_limit()).is_ok()
    }
}
