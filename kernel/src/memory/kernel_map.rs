//! The kernel's own half of translation: its map, the process table, and the
//! addresses outside the linear map, where the heap and the kernel stacks live.
//!
//! Pages there are added and never taken away, so no kernel translation is ever
//! invalidated and no shoot-down of kernel addresses exists.

use core::ops::Range;
use core::sync::atomic::{AtomicU64, Ordering};

use arch::addr::{PAGE_SIZE, PhysAddr, VirtAddr};
use arch::boot::BootInfo;
use arch::encoding::pte::PteFlags;
use arch::hcall;
use arch::irq::Resources;
use arch::mmu::cursor::leaf_tables::Parts;
use arch::mmu::kernel_map::{AREA, build_kernel_map, map_kernel_page};
use arch::mmu::process_table::ProcessTable;
use arch::mmu::tree::{OutOfMemory, RadixTree, TableSource};
use kcore::mm::MmId;

use super::frame;
use super::tables::TableFrames;
use crate::sync::Fixed;

/// The addresses that the heap may grow into: 64 GiB.
pub(super) const HEAP: Range<u64> = AREA.start..AREA.start + (64 << 30);
/// The addresses of kernel stacks: room for two million.
pub(super) const STACKS: Range<u64> = HEAP.end..HEAP.end + (64 << 30);
/// The addresses of device pages: room for two million.
pub(crate) const DEVICES: Range<u64> = STACKS.end..STACKS.end + (8 << 30);
const _: () = assert!(DEVICES.end <= AREA.end);

/// log2 of the process table's size in pages.
const PROCESS_TABLE_ORDER: u32 = 4;

static KERNEL_TREE: Fixed<RadixTree> = Fixed::unset();
static PROCESS_TABLE: Fixed<ProcessTable> = Fixed::unset();
/// Frames of heap and stacks, their page tables included. A statistic: it orders nothing.
static AREA_FRAMES: AtomicU64 = AtomicU64::new(0);

/// Builds the kernel's map and turns the MMU on. Once, on the boot CPU, in real mode, after the
/// frames are known. Panics on failure: nothing works without it.
pub(super) fn init(info: &BootInfo) {
    let tree = build_kernel_map(info.memory, &mut TableFrames).expect("no memory for the kernel's map");
    let table = frame::alloc_order_zeroed(PROCESS_TABLE_ORDER).expect("no memory for the process table");
    // SAFETY: zeroed, aligned to its size as every block is, and given away.
    let table = unsafe { ProcessTable::new(table.leak()) };
    // SAFETY: the boot CPU is alone.
    unsafe {
        KERNEL_TREE.set(tree);
        PROCESS_TABLE.set(table);
    }
    // SAFETY: the tree has all of memory where the image and the linear map
    // expect it; no entry but the kernel's is set.
    let enabled = unsafe { arch::mmu::enable(table, &KERNEL_TREE, MmId::INIT_MM.pid(), info.platform.gtse) };
    enabled.unwrap_or_else(|status| panic!("the hypervisor refuses the process table: {status:?}"));
    // From now on interrupts are taken with the MMU on: their handlers run on
    // kernel stacks and use the heap, which are not in the linear map.
    // SAFETY: the vectors are in place (before mm), and the map has them executable.
    let set = unsafe { hcall::h_set_mode_ail3() };
    set.unwrap_or_else(|status| panic!("the hypervisor refuses interrupts with the MMU on: {status:?}"));
}

/// The address of the process table, for debuggers.
pub(crate) fn process_table_address() -> PhysAddr {
    PROCESS_TABLE.base()
}

/// The kernel's own tree.
#[cfg(feature = "selftest")]
pub(crate) fn kernel_tree() -> &'static RadixTree {
    &KERNEL_TREE
}

/// The process table.
pub(crate) fn process_table() -> ProcessTable {
    *PROCESS_TABLE
}

/// Maps a new, zeroed frame for good at `addr`, where nothing is mapped. The reserve serves it if
/// need be.
pub(super) fn map_new_page(addr: VirtAddr) -> Result<(), OutOfMemory> {
    let page = frame::alloc_zeroed_from_reserve().ok_or(OutOfMemory)?;
    map_kernel_page(&KERNEL_TREE, addr, page.phys(), PteFlags::KERNEL_RW, &mut AreaTables)?;
    let _mapped_for_good = page.leak();
    AREA_FRAMES.fetch_add(1, Ordering::Relaxed);
    Ok(())
}

/// The kernel's memory, for the interrupt controller. Used by the boot CPU, before other CPUs start.
pub(crate) struct ForInterrupts;

impl Resources for ForInterrupts {
    fn map_device(&mut self, page: PhysAddr) -> VirtAddr {
        static NEXT: AtomicU64 = AtomicU64::new(DEVICES.start);
        let addr = VirtAddr(NEXT.fetch_add(PAGE_SIZE, Ordering::Relaxed));
        let flags = PteFlags::KERNEL_RW | PteFlags::DEVICE;
        map_kernel_page(&KERNEL_TREE, addr, page, flags, &mut AreaTables).expect("no memory to map a device");
        addr
    }

    fn memory(&mut self, bytes: u64) -> PhysAddr {
        let block = frame::alloc_order((bytes / PAGE_SIZE).ilog2()).expect("no memory for events");
        block.leak()
    }
}

/// How many frames [`map_new_page`] has taken for good, page tables included.
#[cfg(feature = "selftest")]
pub(super) fn area_frames() -> u64 {
    AREA_FRAMES.load(Ordering::Relaxed)
}

/// Tables for heap and stacks; they stay, as their pages do.
struct AreaTables;

impl TableSource for AreaTables {
    fn alloc(&mut self, bytes: u64) -> Option<PhysAddr> {
        assert!(bytes == PAGE_SIZE, "the kernel's tree has its root");
        let table = frame::alloc_zeroed_from_reserve()?;
        AREA_FRAMES.fetch_add(1, Ordering::Relaxed);
        Some(table.leak())
    }

    unsafe fn free(&mut self, table: PhysAddr, bytes: u64) {
        // SAFETY: the caller's promise.
        unsafe { TableFrames.free(table, bytes) };
        AREA_FRAMES.fetch_sub(1, Ordering::Relaxed);
    }

    fn filling(&mut self, _: PhysAddr, _: Parts) {}
}
