//! Page tables are made of frames.

use arch::addr::{PAGE_SIZE, PhysAddr};
use arch::mmu::tree::TableSource;

use super::frame::{self, Frame};

/// The frame allocator as a source of page tables.
pub(crate) struct TableFrames;

/// The order of a table of `bytes`: 0, or 4 for a root.
fn order_of(bytes: u64) -> u32 {
    (bytes / PAGE_SIZE).trailing_zeros()
}

impl TableSource for TableFrames {
    fn alloc(&mut self, bytes: u64) -> Option<PhysAddr> {
        match order_of(bytes) {
            0 => frame::alloc_zeroed(),
            order => frame::alloc_order_zeroed(order),
        }
        .map(Frame::leak)
    }

    unsafe fn free(&mut self, table: PhysAddr, bytes: u64) {
        // SAFETY: `alloc` gave the reference away, and the caller promises that it comes back.
        drop(unsafe { Frame::from_phys(table, order_of(bytes)) });
    }
}
