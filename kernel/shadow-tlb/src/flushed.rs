//! Flushes of pages that have reached some holders and not all.
//!
//! Two CPUs may flush two parts of one address space at once, each by calls to the others that
//! come in any order. So a flush of pages is remembered for as long as it covers a change that
//! other holders still have: at most one per holder and change.

use alloc::collections::BTreeMap;
use core::ops::Range;

use kcore::event::Stamp;

use crate::stale::{Stale, StaleSet};

/// The pages of each flush, by the index of the holder and the moment when the flush began.
#[derive(Default)]
pub(super) struct Flushed(BTreeMap<(usize, Stamp), Range<u64>>);

impl Flushed {
    /// A flush of `pages` that began at `began` has reached `holder`.
    pub(super) fn add(&mut self, holder: usize, began: Stamp, pages: Range<u64>) {
        self.0.insert((holder, began), pages);
    }

    /// Whether a flush since the change has reached `holder`.
    pub(super) fn covers(&self, holder: usize, stale: &Stale) -> bool {
        let mut its = self.0.range((holder, Stamp::FIRST)..=(holder, Stamp::NEVER));
        its.any(|(&(_, began), pages)| stale.is_covered(pages, began))
    }

    /// Forgets the flushes that cover nothing of what is still `stale`.
    pub(super) fn forget(&mut self, stale: &StaleSet) {
        self.0.retain(|&(_, began), pages| stale.iter().any(|stale| stale.is_covered(pages, began)));
    }
}

#[cfg(test)]
mod tests {
    use kcore::cpu::CpuId;
    use kcore::mm::flush::FlushRange;

    use crate::Shadow;

    /// The memory stays bounded however often a CPU flushes what another one still holds.
    #[test]
    fn no_more_is_remembered_than_makes_a_difference() {
        let cpus = [CpuId::new(0), CpuId::new(1)];
        let mut shadow = Shadow::new(cpus.len(), 0);
        shadow.set_entry(cpus[0]).unwrap();
        cpus.iter().for_each(|&cpu| shadow.load(cpu, false).unwrap());
        shadow.leaf_changed(cpus[0], 0, None);
        let mut flush = |cpu| {
            let began = shadow.flush_begins();
            shadow.flush_local(cpu, FlushRange::Pages { start: 0, pages: 1 }, began);
            shadow.flushed.0.len()
        };
        assert_eq!((0..100).map(|_| flush(cpus[0])).max(), Some(1));
        assert_eq!(flush(cpus[1]), 0);
    }
}
