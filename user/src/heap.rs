//! The heap: one anonymous mapping, made by the first allocation.
//!
//! Programs keep lists of threads and format texts; none needs more. The mapping
//! is backed page by page as it is touched, and a forked child gets a copy.

use core::alloc::{GlobalAlloc, Layout};
use core::ptr::{self, NonNull};

use linked_list_allocator::Heap;

use crate::memory::{self, Protection};
use crate::sync::Mutex;

const HEAP_BYTES: usize = 1 << 20;

struct Allocator(Mutex<Heap>);

#[global_allocator]
static ALLOCATOR: Allocator = Allocator(Mutex::new(Heap::empty()));

// SAFETY: `Heap` hands out disjoint pieces of its mapping, one caller at a time
// under the lock. A child forked while another thread holds the lock would hang:
// programs fork from single-threaded processes.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let mut heap = self.0.lock();
        if heap.size() == 0 {
            let Ok(memory) = memory::map(HEAP_BYTES, Protection::READ_WRITE) else {
                return ptr::null_mut();
            };
            // SAFETY: the mapping is new, ours and never unmapped.
            unsafe { heap.init(memory, HEAP_BYTES) };
        }
        heap.allocate_first_fit(layout).map_or(ptr::null_mut(), NonNull::as_ptr)
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        let Some(pointer) = NonNull::new(pointer) else {
            return;
        };
        // SAFETY: the caller got it from `alloc` with this layout.
        unsafe { self.0.lock().deallocate(pointer, layout) };
    }
}
