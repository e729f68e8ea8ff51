//! RLIMIT_AS: how large an address space may be.

use core::ops::Range;

use vm::area::Area;

use super::address_space::Map;
use crate::process::limits::{self, Resource};

impl Map {
    /// Whether the running process may have `range` mapped besides what is mapped
    /// elsewhere: Linux's `may_expand_vm`. Whatever maps more asks for it first.
    pub(super) fn may_map(&self, range: &Range<u64>) -> bool {
        let limit = limits::of_current(Resource::As);
        // Nearly always: the areas need not be added up.
        if limit == limits::INFINITY {
            return true;
        }
        let all: u64 = self.areas.iter().map(Area::bytes).sum();
        let replaced: u64 = self.areas.overlapping(range).map(|area| area.part(range).bytes()).sum();
        all - replaced + (range.end - range.start) <= limit
    }
}
