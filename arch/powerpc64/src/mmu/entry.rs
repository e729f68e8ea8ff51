//! One entry of a tree, in memory. Every store to an entry is made here, and observed.

use super::observer;
use crate::addr::VirtAddr;
use crate::encoding::pte::Pte;
use core::sync::atomic::{AtomicU64, Ordering};

/// One entry of the tree, in memory.
#[derive(Debug)]
#[repr(transparent)]
pub(super) struct AtomicPte(AtomicU64);

impl AtomicPte {
    /// What the entry holds.
    #[inline]
    pub(super) fn load(&self) -> Pte {
        Pte(self.0.load(Ordering::Relaxed))
    }

    /// Sets the entry. Adding permissions for the page that it names needs no flush. Removing
    /// permissions, or the entry, needs a flush afterwards. The flush starts with a full
    /// barrier, which orders this store before the read of `mm_cpumask`. Hardware sets no bit
    /// in an entry: R and C are preset.
    ///
    /// This CPU's own next access may still not see the entry. That fault is spurious, and the
    /// access is tried again. [`after_store`](super::cursor::after_store) makes it unlikely.
    #[inline]
    pub(super) fn store(&self, pte: Pte) {
        let old = if observer::ON { self.load() } else { Pte::NONE };
        // F50 release: orders what was stored to the page before the entry. Partner: the MMU's walk,
        // on whose result the address of each access through the translation depends.
        self.0.store(pte.0, Ordering::Release);
        self.changed(old, pte);
    }

    /// As [`AtomicPte::store`], for no page or the same page, whose contents were ordered before
    /// its first entry: so relaxed.
    #[inline]
    pub(super) fn store_no_new_page(&self, pte: Pte) {
        let old = if observer::ON { self.load() } else { Pte::NONE };
        self.0.store(pte.0, Ordering::Relaxed);
        self.changed(old, pte);
    }

    /// Replaces the entry if it still is `current`.
    ///
    /// # Errors
    /// What the entry holds instead.
    #[inline]
    pub(super) fn replace(&self, current: Pte, new: Pte) -> Result<(), Pte> {
        // F50 acqrel: orders a new table's zeroes before the entry that leads to it. Partners:
        // `replace`, and the MMU's walk. F50 acquire: orders an entry that another CPU was faster to
        // set before the accesses to what it leads to. Partner: `replace`.
        let order = (Ordering::AcqRel, Ordering::Acquire);
        self.0.compare_exchange(current.0, new.0, order.0, order.1).map_err(Pte)?;
        self.changed(current, new);
        Ok(())
    }

    /// After the store, before the flush: the observer's rule.
    #[inline(always)]
    fn changed(&self, old: Pte, new: Pte) {
        observer::tell(|observer| {
            let here = VirtAddr(core::ptr::from_ref(self) as u64).to_phys();
            (observer.entry_changed)(here, old, new);
        });
    }
}
