//! Entries of the radix tree and of the process table.
//!
//! The tree has four levels of 13, 9, 9 and 9 index bits over a 52-bit effective
//! address; leaves may also sit one (2 MiB) or two (1 GiB) levels up. Entries
//! are big-endian in memory, which is this kernel's own byte order. (ISA 3.0B,
//! Book III, 5.7.10.)

use crate::addr::PhysAddr;
use bitflags::bitflags;

/// log2 of the root table's entry count.
pub const ROOT_BITS: u32 = 13;
/// log2 of the entry count of every table below.
pub const TABLE_BITS: u32 = 9;
/// Address bits that the tree translates.
pub const EA_BITS: u32 = 52;
/// Bytes of a root table, and its alignment.
pub const ROOT_BYTES: u64 = 8 << ROOT_BITS;
/// Bytes of a lower table, and its alignment.
pub const TABLE_BYTES: u64 = 8 << TABLE_BITS;

bitflags! {
    /// Bits of a tree entry other than the address.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct PteFlags: u64 {
        /// The entry is in use.
        const VALID = 1 << 63;
        /// It maps a page rather than naming a table.
        const LEAF = 1 << 62;
        /// Referenced. Preset: an implementation may set it in hardware or
        /// give a fault.
        const REFERENCED = 1 << 8;
        /// Changed. Preset, like REFERENCED.
        const CHANGED = 1 << 7;
        /// For software: the entry holds a reference to its page.
        const COUNTED = 1 << 9;
        /// Non-idempotent: device memory, guarded and not cached.
        const DEVICE = 1 << 5;
        /// Problem state may not use it.
        const PRIVILEGED = 1 << 3;
        /// Loads are permitted.
        const READ = 1 << 2;
        /// Stores are permitted (and loads).
        const WRITE = 1 << 1;
        /// Instruction fetches are permitted.
        const EXECUTE = 1 << 0;

        /// The flags of every leaf.
        const PAGE = Self::VALID.bits() | Self::LEAF.bits() | Self::REFERENCED.bits() | Self::CHANGED.bits();
        /// Kernel constants.
        const KERNEL_RO = Self::PAGE.bits() | Self::PRIVILEGED.bits() | Self::READ.bits();
        /// Kernel data.
        const KERNEL_RW = Self::KERNEL_RO.bits() | Self::WRITE.bits();
        /// Kernel code.
        const KERNEL_RX = Self::KERNEL_RO.bits() | Self::EXECUTE.bits();
        /// User constants.
        const USER_RO = Self::PAGE.bits() | Self::READ.bits();
        /// User data.
        const USER_RW = Self::USER_RO.bits() | Self::WRITE.bits();
        /// User code.
        const USER_RX = Self::USER_RO.bits() | Self::EXECUTE.bits();
        /// User code that is also writable.
        const USER_RWX = Self::USER_RW.bits() | Self::EXECUTE.bits();
    }
}

/// One tree entry: a leaf, a pointer to a table, or nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct Pte(pub u64);

impl Pte {
    /// Address bits of a leaf: 4 KiB and up, below the software bits.
    pub const LEAF_ADDRESS: u64 = 0x01ff_ffff_ffff_f000;
    /// Address bits of a table pointer: tables are aligned to their size.
    pub const TABLE_ADDRESS: u64 = 0x0fff_ffff_ffff_ff00;

    /// The empty entry.
    pub const NONE: Pte = Pte(0);

    /// A leaf for the page at `page`. `flags` includes [`PteFlags::PAGE`].
    #[must_use]
    pub const fn leaf(page: PhysAddr, flags: PteFlags) -> Pte {
        debug_assert!(page.0 & !Self::LEAF_ADDRESS == 0, "not a page address");
        Pte(page.0 | flags.bits())
    }

    /// A pointer to a lower table of [`TABLE_BYTES`].
    #[must_use]
    pub const fn table(table: PhysAddr) -> Pte {
        debug_assert!(table.0 & (TABLE_BYTES - 1) == 0, "table not aligned to its size");
        Pte(PteFlags::VALID.bits() | table.0 | TABLE_BITS as u64)
    }

    /// In use?
    #[must_use]
    pub const fn is_valid(self) -> bool {
        self.0 & PteFlags::VALID.bits() != 0
    }

    /// Maps a page?
    #[must_use]
    pub const fn is_leaf(self) -> bool {
        const BOTH: u64 = PteFlags::VALID.union(PteFlags::LEAF).bits();
        self.0 & BOTH == BOTH
    }

    /// Of a leaf: the page it maps.
    #[must_use]
    pub const fn page(self) -> PhysAddr {
        PhysAddr(self.0 & Self::LEAF_ADDRESS)
    }

    /// Of a table pointer: the table.
    #[must_use]
    pub const fn next_table(self) -> PhysAddr {
        PhysAddr(self.0 & Self::TABLE_ADDRESS)
    }

    /// The flags of a leaf.
    #[must_use]
    pub const fn flags(self) -> PteFlags {
        PteFlags::from_bits_truncate(self.0)
    }

    /// The leaf with the permissions in `flags` instead of its own.
    #[must_use]
    pub const fn permitting(self, flags: PteFlags) -> Pte {
        let all = PteFlags::READ.union(PteFlags::WRITE).union(PteFlags::EXECUTE).bits();
        Pte(self.0 & !all | flags.bits() & all)
    }

    /// A leaf for this page with other flags.
    #[must_use]
    pub const fn with_flags(self, flags: PteFlags) -> Pte {
        Pte::leaf(self.page(), flags)
    }
}

/// First doubleword of a process-table entry: a tree of 52 bits whose root of
/// 2^13 entries is at `root`. The second doubleword is 0.
///
/// RTS (tree size less 31, so 21) is split: its upper two bits at 2^61, the
/// lower three at 2^5.
#[must_use]
pub const fn process_table_entry(root: PhysAddr) -> u64 {
    debug_assert!(root.0 & (ROOT_BYTES - 1) == 0, "root not aligned to its size");
    const RTS: u64 = (EA_BITS - 31) as u64;
    (RTS >> 3) << 61 | (RTS & 7) << 5 | root.0 | ROOT_BITS as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaves_as_seen_to_work() {
        let page = PhysAddr(0x0123_4000);
        assert_eq!(Pte::leaf(page, PteFlags::KERNEL_RW).0, 0xc000_0000_0123_418e);
        assert_eq!(Pte::leaf(page, PteFlags::KERNEL_RO).0, 0xc000_0000_0123_418c);
        assert_eq!(Pte::leaf(page, PteFlags::USER_RW).0, 0xc000_0000_0123_4186);
        assert_eq!(Pte::leaf(page, PteFlags::USER_RX).0, 0xc000_0000_0123_4185);
        let mmio = PteFlags::KERNEL_RW | PteFlags::DEVICE;
        assert_eq!(Pte::leaf(page, mmio).0, 0xc000_0000_0123_41ae);
    }

    #[test]
    fn bits_are_where_the_isa_numbers_them() {
        // From the left, as in the figures of 5.7.10.2.
        let isa = |first: u32, last: u32| u64::MAX << (63 - last + first) >> first;
        let flags = [
            (PteFlags::VALID, 0),
            (PteFlags::LEAF, 1),
            (PteFlags::REFERENCED, 55),
            (PteFlags::CHANGED, 56),
            (PteFlags::COUNTED, 54),
            (PteFlags::DEVICE, 58),
            (PteFlags::PRIVILEGED, 60),
            (PteFlags::READ, 61),
            (PteFlags::WRITE, 62),
            (PteFlags::EXECUTE, 63),
        ];
        flags.into_iter().for_each(|(flag, bit)| assert_eq!(flag.bits(), isa(bit, bit), "{flag:?}"));
        assert_eq!((Pte::LEAF_ADDRESS, Pte::TABLE_ADDRESS), (isa(7, 51), isa(4, 55)));
        let highest = PhysAddr(Pte::LEAF_ADDRESS);
        assert_eq!(Pte::leaf(highest, PteFlags::USER_RO).page(), highest);
    }

    #[test]
    fn what_each_kind_of_page_allows() {
        let allowed = |flags: PteFlags| {
            let asked = [PteFlags::PRIVILEGED, PteFlags::READ, PteFlags::WRITE, PteFlags::EXECUTE];
            (flags.contains(PteFlags::PAGE), asked.map(|flag| u32::from(flags.contains(flag))))
        };
        assert_eq!(allowed(PteFlags::KERNEL_RO), (true, [1, 1, 0, 0]));
        assert_eq!(allowed(PteFlags::KERNEL_RW), (true, [1, 1, 1, 0]));
        assert_eq!(allowed(PteFlags::KERNEL_RX), (true, [1, 1, 0, 1]));
        assert_eq!(allowed(PteFlags::USER_RO), (true, [0, 1, 0, 0]));
        assert_eq!(allowed(PteFlags::USER_RW), (true, [0, 1, 1, 0]));
        assert_eq!(allowed(PteFlags::USER_RX), (true, [0, 1, 0, 1]));
        assert_eq!(allowed(PteFlags::USER_RWX), (true, [0, 1, 1, 1]));
    }

    #[test]
    fn leaf_round_trip() {
        let flags = PteFlags::USER_RO;
        let pte = Pte::leaf(PhysAddr(0x7_f000), flags);
        assert!(pte.is_leaf() && pte.is_valid());
        assert_eq!((pte.page(), pte.flags()), (PhysAddr(0x7_f000), flags));
        assert_eq!(pte.with_flags(PteFlags::USER_RW).flags(), PteFlags::USER_RW);
    }

    #[test]
    fn table_pointer() {
        let pte = Pte::table(PhysAddr(0x0200_1000));
        assert_eq!(pte.0, 0x8000_0000_0200_1009);
        assert!(pte.is_valid() && !pte.is_leaf());
        assert_eq!(pte.next_table(), PhysAddr(0x0200_1000));
        assert!(!Pte::NONE.is_valid());
    }

    #[test]
    fn process_table_entry_as_seen_to_work() {
        assert_eq!(process_table_entry(PhysAddr(0x0300_0000)), 0x4000_0000_0300_00ad);
    }
}
