//! Bit layouts that the hardware and the hypervisor read: pure functions, tested
//! on the host.

pub mod instruction;
pub mod platform_support;
pub mod pte;
pub mod rpt_invalidate;
pub mod timebase;
pub mod tlb_operand;
pub mod tlb_sequence;
pub mod xive;

/// The page sizes of the radix MMU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageSize {
    /// 4 KiB, the base page.
    Size4K,
    /// 64 KiB.
    Size64K,
    /// 2 MiB: a leaf one level up.
    Size2M,
    /// 1 GiB: a leaf two levels up.
    Size1G,
}

impl PageSize {
    /// log2 of the size in bytes.
    #[must_use]
    pub const fn shift(self) -> u32 {
        match self {
            PageSize::Size4K => 12,
            PageSize::Size64K => 16,
            PageSize::Size2M => 21,
            PageSize::Size1G => 30,
        }
    }

    /// The size in bytes.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        1 << self.shift()
    }

    /// The AP encoding in tlbie operands, as the device tree property
    /// `ibm,processor-radix-AP-encodings` of POWER9 and POWER10 gives it.
    #[must_use]
    pub const fn ap(self) -> u64 {
        match self {
            PageSize::Size4K => 0,
            PageSize::Size64K => 5,
            PageSize::Size2M => 1,
            PageSize::Size1G => 2,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::PageSize::{Size1G, Size2M, Size4K, Size64K};

    #[test]
    fn ap_agrees_with_the_device_tree_of_power9() {
        // ibm,processor-radix-AP-encodings: AP in the top 3 bits, shift below.
        for cell in [0x0000_000c_u32, 0xa000_0010, 0x2000_0015, 0x4000_001e] {
            let (ap, shift) = (u64::from(cell >> 29), cell & 0x1fff_ffff);
            let size =
                [Size4K, Size64K, Size2M, Size1G].into_iter().find(|size| size.shift() == shift).unwrap();
            assert_eq!(size.ap(), ap);
        }
    }
}
