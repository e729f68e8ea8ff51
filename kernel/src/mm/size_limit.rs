//! RLIMIT_AS: how large an address space may be.

use core::ops::Range;

use vm::area::Area;

use super::address_space::Map;
use crate::upcalls::{INFINITY, Resource, limit_of_current};

impl Map {
    /// Whether the running process may have `range` mapped besides its mappings elsewhere. Code
    /// that maps more calls this or [`Map::may_grow`] first.
    #[inline]
    pub(super) fn may_map(&self, range: &Range<u64>) -> bool {
        let replaced = || self.areas.overlapping(range).map(|area| area.part(range).bytes()).sum::<u64>();
        self.is_within_limit(|all| all - replaced() + (range.end - range.start))
    }

    /// Whether it may map `bytes` more: Linux's `may_expand_vm`.
    pub(super) fn may_grow(&self, bytes: u64) -> bool {
        self.is_within_limit(|all| all.saturating_add(bytes))
    }

    /// Whether the size that `size` computes from the present one is within the limit.
    #[inline(always)]
    fn is_within_limit(&self, size: impl FnOnce(u64) -> u64) -> bool {
        let limit = limit_of_current(Resource::As);
        // The usual case: the areas need not be added up.
        limit == INFINITY || self.fits(limit, size)
    }

    #[cold]
    fn fits(&self, limit: u64, size: impl FnOnce(u64) -> u64) -> bool {
        size(self.areas.iter().map(Area::bytes).sum()) <= limit
    }
}
