//! For each page frame: its role in the trees of user memory, and the number of ways by which an
//! MMU can reach it.

use alloc::boxed::Box;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use arch::addr::PAGE_SHIFT;
use arch::encoding::pte::TABLE_BITS;
use shadow_tlb::FrameNumber;

/// The role that a frame has, or had last, in the tree of the mm in a slot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Role {
    /// No part of a tree.
    None,
    /// A table, or a part of a root: its entries serve the addresses from `base` on.
    Table { slot: usize, level: u32, base: u64 },
    /// A page that is mapped at `ea`.
    Page { slot: usize, ea: u64 },
}

const TABLE: u64 = 1 << 63;
const PAGE: u64 = 1 << 62;
const LEVEL_SHIFT: u32 = 60;
const SLOT_SHIFT: u32 = 48;
const SLOTS: u64 = 1 << (LEVEL_SHIFT - SLOT_SHIFT);

impl Role {
    fn to_bits(self) -> u64 {
        let place = |slot: usize, ea: u64| (slot as u64) << SLOT_SHIFT | ea >> PAGE_SHIFT;
        match self {
            Role::None => 0,
            Role::Table { slot, level, base } => TABLE | u64::from(level) << LEVEL_SHIFT | place(slot, base),
            Role::Page { slot, ea } => PAGE | place(slot, ea),
        }
    }

    fn from_bits(bits: u64) -> Self {
        let slot = (bits >> SLOT_SHIFT & (SLOTS - 1)) as usize;
        let ea = (bits & ((1 << SLOT_SHIFT) - 1)) << PAGE_SHIFT;
        match bits {
            0 => Role::None,
            _ if bits & TABLE != 0 => Role::Table { slot, level: (bits >> LEVEL_SHIFT & 3) as u32, base: ea },
            _ => Role::Page { slot, ea },
        }
    }
}

/// The bytes that one entry of a table of `level` serves.
pub(super) fn served_by_entry(level: u32) -> u64 {
    1 << (PAGE_SHIFT + TABLE_BITS * level)
}

/// All frames of the machine.
pub(super) struct Frames {
    roles: Box<[AtomicU64]>,
    /// For each frame: the entries that name it, and earlier ones that may still be cached.
    reachable: Box<[AtomicU32]>,
}

impl Frames {
    pub(super) fn new(frames: usize) -> Self {
        Self {
            roles: (0..frames).map(|_| AtomicU64::new(0)).collect(),
            reachable: (0..frames).map(|_| AtomicU32::new(0)).collect(),
        }
    }

    // All accesses are relaxed: code that changes an entry or gives a frame away has the lock or
    // the reference that orders it against other such code.

    pub(super) fn role(&self, frame: FrameNumber) -> Role {
        Role::from_bits(self.roles[frame as usize].load(Ordering::Relaxed))
    }

    pub(super) fn set_role(&self, frame: FrameNumber, role: Role) {
        self.roles[frame as usize].store(role.to_bits(), Ordering::Relaxed);
    }

    /// One more way leads to `frame`, which is `role` there.
    pub(super) fn connect(&self, frame: FrameNumber, role: Role) {
        self.set_role(frame, role);
        self.reachable[frame as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// One way less.
    pub(super) fn disconnect(&self, frame: FrameNumber) {
        let before = self.reachable[frame as usize].fetch_sub(1, Ordering::Relaxed);
        assert!(before != 0, "oracle: frame {frame:#x} is disconnected twice");
    }

    pub(super) fn is_reachable(&self, frame: FrameNumber) -> bool {
        self.reachable[frame as usize].load(Ordering::Relaxed) != 0
    }

    #[cfg(feature = "selftest")]
    pub(super) fn bytes(&self) -> usize {
        size_of_val(&*self.roles) + size_of_val(&*self.reachable)
    }
}
