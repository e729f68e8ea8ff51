//! Arguments of the hypercall H_RPT_INVALIDATE (0x448): a partition without
//! GTSE asks the hypervisor to invalidate translations (PAPR 2.12, 14.5.4.10).

use super::PageSize;
use super::tlb_operand::Ric;
use core::ops::Range;

/// The opcode.
pub const H_RPT_INVALIDATE: u64 = 0x448;

/// The arguments: process, targets, types, page sizes, and the addresses' start and end.
pub type Arguments = [u64; 6];

/// Targets: all virtual processors of the partition, and the nest MMUs of coprocessors.
const EVERYWHERE: u64 = 1 << 0 | 1 << 2;
/// Types: translations, the walk cache, process-table entries.
const TLB: u64 = 1 << 1;
const WALK_CACHE: u64 = 1 << 2;
const PROCESS_TABLE: u64 = 1 << 3;
/// Page sizes: 4 KiB, 64 KiB, 2 MiB, 1 GiB, from bit 0 on.
const ALL_SIZES: u64 = 0xf;

/// Invalidates the pages of process `pid` in `range`.
#[must_use]
pub fn range(pid: u32, range: Range<u64>, size: PageSize) -> Arguments {
    let sizes = match size {
        PageSize::Size4K => 1 << 0,
        PageSize::Size64K => 1 << 1,
        PageSize::Size2M => 1 << 2,
        PageSize::Size1G => 1 << 3,
    };
    [pid.into(), EVERYWHERE, TLB, sizes, range.start, range.end]
}

/// Invalidates all of process `pid`, as a `tlbie` with `ric` does: every size, every address.
#[must_use]
pub fn pid(pid: u32, ric: Ric) -> Arguments {
    let types = match ric {
        Ric::Tlb => TLB,
        Ric::All => TLB | WALK_CACHE | PROCESS_TABLE,
    };
    [pid.into(), EVERYWHERE, types, ALL_SIZES, 0, !0]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process() {
        assert_eq!(pid(5, Ric::All), [5, 5, 0xe, 0xf, 0, u64::MAX]);
        assert_eq!(pid(6, Ric::Tlb), [6, 5, 2, 0xf, 0, u64::MAX]);
    }

    #[test]
    fn pages_of_each_size() {
        let sizes = [PageSize::Size4K, PageSize::Size64K, PageSize::Size2M, PageSize::Size1G];
        for (size, bit) in sizes.into_iter().zip([1, 2, 4, 8]) {
            assert_eq!(range(9, 0x1000..0x3000, size), [9, 5, 2, bit, 0x1000, 0x3000]);
        }
    }
}
