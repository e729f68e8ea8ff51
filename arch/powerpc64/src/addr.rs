//! Physical and virtual addresses as types of their own.
//!
//! The linear map covers all of memory at [`LINEAR_BASE`]. In real mode the
//! processor ignores the top four bits of an address, so a linear-map
//! address names one byte with the MMU on and off.

use core::fmt;

/// log2 of the page size.
pub const PAGE_SHIFT: u32 = 12;
/// The base page, in bytes.
pub const PAGE_SIZE: u64 = 1 << PAGE_SHIFT;
/// First address of the linear map: quadrant 3, which every process-table
/// entry translates through entry 0.
pub const LINEAR_BASE: u64 = 0xc000_0000_0000_0000;
/// First address beyond quadrant 0's 52 bits: user addresses are below it.
pub const USER_END: u64 = 1 << 52;

/// A physical (guest real) address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(transparent)]
pub struct PhysAddr(pub u64);

/// An effective address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(transparent)]
pub struct VirtAddr(pub u64);

impl PhysAddr {
    /// This byte, seen through the linear map.
    #[inline]
    #[must_use]
    pub const fn to_virt(self) -> VirtAddr {
        VirtAddr(self.0 | LINEAR_BASE)
    }

    /// The linear-map pointer to this address.
    #[inline]
    #[must_use]
    pub const fn as_mut_ptr<T>(self) -> *mut T {
        self.to_virt().as_mut_ptr()
    }

    /// The number of the page that holds this address.
    #[inline]
    #[must_use]
    pub const fn page_number(self) -> u64 {
        self.0 >> PAGE_SHIFT
    }
}

impl VirtAddr {
    /// The physical address behind a *linear-map* address.
    ///
    /// Only for linear-map addresses: any other address needs a walk of the tree.
    #[inline]
    #[must_use]
    pub const fn to_phys(self) -> PhysAddr {
        debug_assert!(self.0 >> 60 == 0xc, "not a linear-map address");
        PhysAddr(self.0 & !LINEAR_BASE)
    }

    /// This address as a pointer.
    #[inline]
    #[must_use]
    pub const fn as_mut_ptr<T>(self) -> *mut T {
        self.0 as *mut T
    }

    /// True for an address that a user program may name.
    #[inline]
    #[must_use]
    pub const fn is_user(self) -> bool {
        self.0 < USER_END
    }

    /// The first byte of the page that holds this address.
    #[inline]
    #[must_use]
    pub const fn page(self) -> VirtAddr {
        VirtAddr(self.0 & !(PAGE_SIZE - 1))
    }
}

impl fmt::Debug for PhysAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pa:{:#x}", self.0)
    }
}

impl fmt::Debug for VirtAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#018x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn linear_map_round_trip() {
        let pa = PhysAddr(0x1234_5678);
        assert_eq!(pa.to_virt(), VirtAddr(0xc000_0000_1234_5678));
        assert_eq!(pa.to_virt().to_phys(), pa);
        assert_eq!(pa.page_number(), 0x12345);
    }

    #[test]
    fn user_range_ends_at_52_bits() {
        assert!(VirtAddr(0x000f_ffff_ffff_ffff).is_user());
        assert!(!VirtAddr(0x0010_0000_0000_0000).is_user());
        assert!(!VirtAddr(LINEAR_BASE).is_user());
    }
}
