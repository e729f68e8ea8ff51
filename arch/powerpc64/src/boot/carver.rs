//! The one piece of memory that the boot claims, and tables carved from it.

use core::mem::{align_of, size_of};

use super::info::MemoryRegion;
use crate::addr::{PAGE_SIZE, VirtAddr};

/// Memory for boot data that stays: handed out from the start on.
pub(super) struct Carver {
    start: VirtAddr,
    next: u64,
    end: u64,
}

impl Carver {
    /// # Safety
    /// The `size` bytes at `start` must be memory in the linear map that nothing
    /// else uses, now or later.
    pub(super) unsafe fn new(start: VirtAddr, size: u64) -> Self {
        Self { start, next: start.0, end: start.0 + size }
    }

    /// Gives all memory that is left to `fill` as bytes. `fill` returns how many
    /// it used: these stay, the rest can still be handed out.
    pub(super) fn bytes<E>(
        &mut self,
        fill: impl FnOnce(&mut [u8]) -> Result<usize, E>,
    ) -> Result<&'static [u8], E> {
        let room = (self.end - self.next) as usize;
        // SAFETY: nothing else uses it (the promise at `new`), and what is
        // handed out below is never handed out again. Bytes may have any value.
        let bytes: &'static mut [u8] =
            unsafe { core::slice::from_raw_parts_mut(VirtAddr(self.next).as_mut_ptr(), room) };
        let used = fill(bytes)?;
        self.next += used.min(room) as u64;
        Ok(&bytes[..used.min(room)])
    }

    /// A table of all `items`, or None if there is no room.
    pub(super) fn collect<T: Copy>(&mut self, items: impl Iterator<Item = T>) -> Option<&'static mut [T]> {
        let table: *mut T = VirtAddr(self.next.next_multiple_of(align_of::<T>() as u64)).as_mut_ptr();
        let mut next = table as u64;
        let mut count = 0;
        for item in items {
            if next + size_of::<T>() as u64 > self.end {
                return None;
            }
            // SAFETY: inside our memory (just checked), aligned, not handed out.
            unsafe { table.add(count).write(item) };
            count += 1;
            next += size_of::<T>() as u64;
        }
        self.next = next;
        // SAFETY: `count` items were written, and `next` has moved beyond them.
        Some(unsafe { core::slice::from_raw_parts_mut(table, count) })
    }

    /// The pages in use once `bytes` more have been handed out.
    pub(super) fn pages_after(&self, bytes: usize) -> MemoryRegion {
        let end = (self.next + bytes as u64).next_multiple_of(PAGE_SIZE);
        MemoryRegion::pages(self.start.to_phys().0, VirtAddr(end).to_phys().0)
    }
}
