//! The place of a task's last page fault or new mapping, by which the next fault nearby goes without
//! a lock.

use core::ops::Range;

use arch::addr::PhysAddr;
use arch::encoding::pte::PteFlags;
use kcore::gate::Gate;
use kcore::mm::MmId;

/// What the last fault or mmap that took the `mmap_lock` has found. It is true while the gate has the
/// number, and the task the mm.
#[derive(Clone, Copy)]
pub(crate) struct FaultPlace {
    /// The address space.
    pub(crate) mm: MmId,
    /// The addresses of private anonymous memory that one leaf table serves: first and end.
    pub(crate) window: (u64, u64),
    /// That table.
    pub(crate) table: PhysAddr,
    /// Its gate; none if there is no place.
    pub(crate) gate: Option<&'static Gate>,
    /// The gate's number.
    pub(crate) number: u64,
    /// The flags of a new page there.
    pub(crate) flags: PteFlags,
}

impl FaultPlace {
    /// No place.
    pub(crate) const NONE: Self = Self {
        mm: MmId::NONE,
        window: (0, 0),
        table: PhysAddr(0),
        gate: None,
        number: 0,
        flags: PteFlags::empty(),
    };

    /// Whether a page at `ea` of `mm` may be filled in here, for an access that needs `flags`.
    #[inline(always)]
    pub(crate) fn serves(&self, mm: MmId, ea: u64, flags: PteFlags) -> bool {
        self.mm == mm && self.range().contains(&ea) && self.flags.contains(flags)
    }

    /// The window.
    pub(crate) fn range(&self) -> Range<u64> {
        self.window.0..self.window.1
    }
}
