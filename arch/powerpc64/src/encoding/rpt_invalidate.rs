//! Arguments of the hypercall H_RPT_INVALIDATE (0x448): a partition without
//! GTSE asks the hypervisor to invalidate translations (PAPR 2.12, 14.5.4.10).

use super::PageSize;
use super::tlb_operand::Ric;
use bitflags::bitflags;

/// The opcode.
pub const H_RPT_INVALIDATE: u64 = 0x448;

/// Which processors forget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// All that may hold a translation.
    Cmmu = 1,
    /// Only the calling one.
    CmmuLocal = 2,
}

bitflags! {
    /// What is forgotten.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Kind: u64 {
        /// Translations.
        const TLB = 1 << 1;
        /// The page-walk cache.
        const PWC = 1 << 2;
        /// The process-table cache.
        const PRT = 1 << 3;
        /// All of it.
        const ALL = Self::TLB.bits() | Self::PWC.bits() | Self::PRT.bits();
    }
}

bitflags! {
    /// Page sizes concerned.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Pages: u64 {
        /// 4 KiB.
        const SIZE_4K = 1 << 0;
        /// 64 KiB.
        const SIZE_64K = 1 << 1;
        /// 2 MiB.
        const SIZE_2M = 1 << 2;
        /// 1 GiB.
        const SIZE_1G = 1 << 3;
    }
}

impl From<PageSize> for Pages {
    fn from(size: PageSize) -> Pages {
        match size {
            PageSize::Size4K => Pages::SIZE_4K,
            PageSize::Size64K => Pages::SIZE_64K,
            PageSize::Size2M => Pages::SIZE_2M,
            PageSize::Size1G => Pages::SIZE_1G,
        }
    }
}

impl From<Ric> for Kind {
    fn from(ric: Ric) -> Kind {
        match ric {
            Ric::Tlb => Kind::TLB,
            Ric::All => Kind::ALL,
        }
    }
}

/// Arguments that invalidate `start..end` of process `pid`.
#[must_use]
pub fn range(pid: u32, target: Target, kind: Kind, pages: Pages, start: u64, end: u64) -> [u64; 6] {
    [u64::from(pid), target as u64, kind.bits(), pages.bits(), start, end]
}

/// Arguments that invalidate `kind` of process `pid`: every size, every address.
#[must_use]
pub fn whole_pid(pid: u32, target: Target, kind: Kind) -> [u64; 6] {
    range(pid, target, kind, Pages::all(), 0, !0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_process_names_everything() {
        assert_eq!(whole_pid(5, Target::Cmmu, Kind::ALL), [5, 1, 0xe, 0xf, 0, u64::MAX]);
    }

    #[test]
    fn range_of_base_pages() {
        let args = range(9, Target::CmmuLocal, Kind::TLB, PageSize::Size4K.into(), 0x1000, 0x3000);
        assert_eq!(args, [9, 2, 2, 1, 0x1000, 0x3000]);
    }

    #[test]
    fn walk_cache_and_sizes_have_their_own_bits() {
        assert_eq!((Kind::TLB | Kind::PWC).bits(), 6);
        assert_eq!(Pages::from(PageSize::Size64K).bits(), 2);
        assert_eq!(Pages::from(PageSize::Size2M).bits(), 4);
        assert_eq!(Pages::from(PageSize::Size1G).bits(), 8);
        assert_eq!((Kind::from(Ric::Tlb), Kind::from(Ric::All)), (Kind::TLB, Kind::ALL));
    }
}
