//! Stacks that grow: a page that is touched below a stack becomes part of it.

use vm::page_down;

use super::address_space::Map;
use super::mmap::LOWEST;
use crate::upcalls::{Resource, limit_of_current};

impl Map {
    /// Whether the stack above `addr`, at which nothing is mapped, has grown to hold it.
    #[cold]
    pub(super) fn grow_stack(&mut self, addr: u64) -> bool {
        let stack = self.areas.overlapping(&(addr..u64::MAX)).next();
        let more = stack.map_or(0, |stack| stack.start - page_down(addr));
        let limit = limit_of_current(Resource::Stack);
        self.may_grow(more) && self.areas.grow_down(addr, LOWEST, limit).is_ok()
    }
}
