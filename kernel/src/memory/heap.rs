//! The kernel heap: `alloc` for everything that is not a whole page.
//!
//! A first-fit list over a range of kernel addresses of its own, in which frames are mapped as
//! the heap grows; they are never unmapped. In front of it sit free lists for the small sizes,
//! which serve almost every request in a few instructions.
//!
//! Code that can fail calls [`ensure_room`] first, as does every call of a program that makes
//! something. It refuses while 64 KiB in the heap and half of the frames' reserve are left. These
//! serve requests that cannot be refused, which are small and end with their call. If they do not
//! suffice, the failed allocation panics.

mod small;

use core::alloc::{GlobalAlloc, Layout};
use core::ptr::{NonNull, null_mut};

use arch::addr::{PAGE_SIZE, VirtAddr};

use super::{frame, kernel_map};
use crate::errno::Errno;
use crate::sync::IrqLock;
use small::SmallLists;

/// The heap grows by at least this much.
const GROWTH_BYTES: u64 = 64 << 10;
/// The bytes that [`ensure_room`] leaves to requests that cannot be refused.
const RESERVE_BYTES: usize = 64 << 10;
/// Requests above this are never served from the frames' reserve.
const LARGE_BYTES: usize = 64 << 10;

/// The heap; its lock nests outside the kernel page tables' and the frames'.
struct KernelHeap(IrqLock<Heap>);

#[global_allocator]
static HEAP: KernelHeap = KernelHeap(IrqLock::new("the kernel heap", Heap::new()));

struct Heap {
    list: linked_list_allocator::Heap,
    small: SmallLists,
    /// Behind the last mapped byte.
    end: u64,
    /// The heap has grown into the frames' reserve, which may not be full again.
    dipped: bool,
    /// The bytes that are handed out, by the sizes of the requests.
    in_use: usize,
}

/// The frames that the heap may grow by.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Growth {
    /// Frames outside the reserve.
    Spare,
    /// The reserve, too.
    Reserve,
}

/// Gives the heap its first pages. Once, on the boot CPU, with the MMU on.
pub(crate) fn init() {
    let mut heap = HEAP.0.lock();
    assert!(heap.grow(GROWTH_BYTES, Growth::Spare), "no memory for the kernel heap");
}

/// Whether the heap could hand out `bytes` more and keep its reserve; grows it if need be. Called
/// before operations that cannot fail half-way.
pub(crate) fn ensure_room(bytes: usize) -> bool {
    let mut heap = HEAP.0.lock();
    if heap.dipped {
        heap.dipped = frame::reserve_is_low();
        if heap.dipped {
            return false;
        }
    }
    let wanted = bytes.saturating_add(RESERVE_BYTES);
    heap.list.free() >= wanted || heap.grow(wanted as u64, Growth::Spare)
}

/// As [`ensure_room`], for calls of programs.
///
/// # Errors
/// `ENOMEM`.
pub(crate) fn check_room(bytes: usize) -> Result<(), Errno> {
    if ensure_room(bytes) { Ok(()) } else { Err(Errno::ENOMEM) }
}

/// How many bytes are handed out.
#[cfg(feature = "selftest")]
pub(super) fn bytes_in_use() -> usize {
    HEAP.0.lock().in_use
}

impl Heap {
    const fn new() -> Self {
        Self {
            list: linked_list_allocator::Heap::empty(),
            small: SmallLists::new(),
            end: kernel_map::HEAP.start,
            dipped: false,
            in_use: 0,
        }
    }

    fn alloc(&mut self, layout: Layout) -> Option<NonNull<u8>> {
        let block = self.find(layout)?;
        self.in_use += layout.size();
        Some(block)
    }

    #[inline]
    fn find(&mut self, layout: Layout) -> Option<NonNull<u8>> {
        if let Some(class) = small::class_of(layout) {
            return self.small.take(class).or_else(|| self.alloc_from_list(small::layout_of(class)));
        }
        self.alloc_from_list(layout)
    }

    #[cold]
    fn alloc_from_list(&mut self, layout: Layout) -> Option<NonNull<u8>> {
        if let Ok(block) = self.list.allocate_first_fit(layout) {
            return Some(block);
        }
        // Alignment and the list's own headers take their share.
        let wanted = layout.size().checked_add(layout.align())?.checked_add(64)?;
        let growth = if wanted > LARGE_BYTES { Growth::Spare } else { Growth::Reserve };
        self.grow(wanted as u64, growth).then(|| self.list.allocate_first_fit(layout).ok())?
    }

    /// Maps at least `bytes` more behind the end; on failure the heap stays valid and keeps the
    /// pages that it got.
    fn grow(&mut self, bytes: u64, growth: Growth) -> bool {
        let wanted = bytes.clamp(GROWTH_BYTES, 1 << 40).next_multiple_of(PAGE_SIZE);
        // Mapped pages stay: an absurd request must not take all memory before it fails.
        if wanted > kernel_map::HEAP.end - self.end {
            return false;
        }
        match growth {
            Growth::Spare if !frame::has_spare(wanted / PAGE_SIZE) => return false,
            Growth::Spare => {}
            Growth::Reserve => self.dipped |= frame::reserve_is_low(),
        }
        let old_end = self.end;
        while self.end < old_end + wanted && kernel_map::map_new_page(VirtAddr(self.end)).is_ok() {
            self.end += PAGE_SIZE;
        }
        let got = (self.end - old_end) as usize;
        if got > 0 && self.list.size() == 0 {
            // SAFETY: freshly mapped, zeroed, and ours alone.
            unsafe { self.list.init(VirtAddr(old_end).as_mut_ptr(), got) };
        } else if got > 0 {
            // SAFETY: freshly mapped right behind the heap's end.
            unsafe { self.list.extend(got) };
        }
        got as u64 == wanted
    }
}

// SAFETY: blocks come from the list allocator, disjoint and of the size and alignment asked for
// (small classes are rounded up, in `dealloc` as in `alloc`); the lock makes that hold on all
// CPUs.
unsafe impl GlobalAlloc for KernelHeap {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.0.lock().alloc(layout).map_or(null_mut(), NonNull::as_ptr)
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        let block = NonNull::new(block).expect("the allocator never hands out null");
        let mut heap = self.0.lock();
        heap.in_use -= layout.size();
        match small::class_of(layout) {
            // SAFETY: the caller gives up a block that came from `alloc` with
            // this layout, so with this class.
            Some(class) => unsafe { heap.small.put(class, block) },
            // SAFETY: `block` came from the list with this layout.
            None => unsafe { heap.list.deallocate(block, layout) },
        }
    }
}
