//! Stacks that grow: a page that is touched below a stack becomes part of it.

use vm::page_down;

use super::address_space::Map;
use super::mmap::LOWEST;
use crate::memory::heap;
use crate::upcalls::{Resource, limit_of_current};

/// The most that moving an area in the tree of areas costs on the heap.
const HEAP_BYTES: usize = 4 << 10;

impl Map {
    /// Whether the stack above `addr`, at which nothing is mapped, has grown to hold it.
    #[cold]
    pub(super) fn grow_stack(&mut self, addr: u64) -> bool {
        let stack = self.areas.overlapping(&(addr..u64::MAX)).next();
        let more = stack.map_or(0, |stack| stack.start - page_down(addr));
        let limit = limit_of_current(Resource::Stack);
        self.may_grow(more)
            && heap::ensure_room(HEAP_BYTES)
            && self.areas.grow_down(addr, LOWEST, limit).is_ok()
    }
}
