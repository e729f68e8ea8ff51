//! Page tables are made of frames.

use arch::addr::{PAGE_SIZE, PhysAddr};
use arch::mmu::cursor::leaf_tables::Parts;
use arch::mmu::tree::TableSource;

use super::frame::{self, Frame};

/// The frame allocator as a source of page tables.
pub(crate) struct TableFrames;

impl TableSource for TableFrames {
    fn alloc(&mut self, bytes: u64) -> Option<PhysAddr> {
        let table = if bytes == PAGE_SIZE { frame::alloc_zeroed() } else { frame::alloc_zeroes() };
        table.map(Frame::leak)
    }

    unsafe fn free(&mut self, table: PhysAddr, bytes: u64) {
        if bytes == PAGE_SIZE {
            // SAFETY: `alloc` gave the reference away, and the caller promises that it comes back.
            return drop(unsafe { Frame::from_phys(table, 0) });
        }
        // SAFETY: so it did, and nobody shares a root.
        unsafe { frame::free_zeroes(table) }
    }

    #[inline]
    fn filling(&mut self, table: PhysAddr, parts: Parts) {
        frame::add_parts(table, parts.0);
    }
}
