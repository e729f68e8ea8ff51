//! The kernel's map: all of memory at [`LINEAR_BASE`], and an area for mappings
//! that need not be contiguous in memory.
//!
//! Nothing is both writable and executable. The linear map *is* the image's mapping, so text
//! and constants are read-only through it too. It uses the largest leaf that no such border
//! cuts.

use super::tree::{OutOfMemory, RadixTree, TableSource};
use crate::addr::{LINEAR_BASE, PAGE_SIZE, PhysAddr, VirtAddr};
use crate::boot::MemoryRegion;
use crate::encoding::PageSize;
use crate::encoding::pte::{EA_BITS, Pte, PteFlags};
use crate::percpu::{STACK_SIZE, STACK_SLOT};
use core::ops::Range;

/// Addresses for kernel stacks and other mappings made page by page: above any
/// memory that the linear map could hold, within the 52 bits of the tree.
pub const AREA: Range<u64> = LINEAR_BASE + (1 << 44)..LINEAR_BASE + (1 << 45);
const _: () = assert!(AREA.end - LINEAR_BASE <= 1 << EA_BITS);

unsafe extern "C" {
    // Page-aligned borders of the image, from the linker script.
    static __text_start: u8;
    static __text_end: u8;
    static __rodata_start: u8;
    static __rodata_end: u8;
    // The two slots of the boot CPU's stacks, from the entry code.
    static boot_stacks: u8;
}

/// Physical memory that is not plain data. Empty flags: not mapped at all.
struct Section {
    pages: Range<u64>,
    flags: PteFlags,
}

fn sections() -> [Section; 6] {
    let phys = |symbol: *const u8| VirtAddr(symbol.addr() as u64).to_phys().0;
    let text = phys(&raw const __text_start)..phys(&raw const __text_end);
    let rodata = phys(&raw const __rodata_start)..phys(&raw const __rodata_end);
    let guard = |slot| {
        let start = phys(&raw const boot_stacks) + slot * STACK_SLOT;
        Section { pages: start..start + STACK_SIZE, flags: PteFlags::empty() }
    };
    [
        guard(0),
        guard(1),
        // The vectors for real mode are fetched untranslated: no X needed.
        Section { pages: 0..0x4000, flags: PteFlags::KERNEL_RO },
        Section { pages: 0x4000..0x8000, flags: PteFlags::KERNEL_RX },
        Section { pages: text, flags: PteFlags::KERNEL_RX },
        Section { pages: rodata, flags: PteFlags::KERNEL_RO },
    ]
}

/// Builds the kernel's tree for the memory in `regions`, in real mode or on top
/// of an older map.
///
/// # Errors
/// [`OutOfMemory`] for tables.
pub fn build_kernel_map(
    regions: &[MemoryRegion],
    source: &mut dyn TableSource,
) -> Result<RadixTree, OutOfMemory> {
    let tree = RadixTree::new(source)?;
    let sections = sections();
    for region in regions {
        let end = region.base.0 + region.size;
        let mut at = region.base.0;
        while at < end {
            let (size, flags) = largest_leaf(at, end, &sections);
            if !flags.is_empty() {
                let leaf = Pte::leaf(PhysAddr(at), flags);
                tree.map(PhysAddr(at).to_virt().0, size, leaf, source)?;
            }
            at += size.bytes();
        }
    }
    Ok(tree)
}

/// The largest leaf at `at` that stays in memory and that no section's border
/// cuts, and its flags.
fn largest_leaf(at: u64, end: u64, sections: &[Section]) -> (PageSize, PteFlags) {
    for size in [PageSize::Size1G, PageSize::Size2M] {
        let leaf = at..at + size.bytes();
        let touches = |s: &Section| s.pages.start < leaf.end && leaf.start < s.pages.end;
        let plain = !sections.iter().any(touches);
        if at.is_multiple_of(size.bytes()) && leaf.end <= end && plain {
            return (size, PteFlags::KERNEL_RW);
        }
    }
    let section = sections.iter().find(|section| section.pages.contains(&at));
    (PageSize::Size4K, section.map_or(PteFlags::KERNEL_RW, |section| section.flags))
}

/// Maps one page at `va` in [`AREA`]. Never executable. The caller owns the
/// address; two callers may work on different addresses at once.
///
/// # Errors
/// [`OutOfMemory`] for tables.
pub fn map_kernel_page(
    tree: &RadixTree,
    va: VirtAddr,
    page: PhysAddr,
    flags: PteFlags,
    source: &mut dyn TableSource,
) -> Result<(), OutOfMemory> {
    assert!(AREA.contains(&va.0) && va.0.is_multiple_of(PAGE_SIZE), "not in the area: {va:?}");
    assert!(!flags.contains(PteFlags::EXECUTE), "kernel mappings are not executable");
    tree.map(va.0, PageSize::Size4K, Pte::leaf(page, flags), source)?;
    // Partner: walks on all CPUs. They had no translation, so there is nothing to
    // flush; a CPU that learns of `va` later sees the entry (ptesync is a sync).
    crate::isa::ptesync();
    Ok(())
}
