//! Free lists for small blocks: powers of two from 32 to 2048 bytes.
//!
//! A block stays in its class for good. The kernel frees and allocates a few types over and over
//! (areas, tasks, messages). So this wastes little and saves a first-fit search over a long list.

use core::alloc::Layout;
use core::ptr::NonNull;

const SMALLEST_LOG2: u32 = 5;
const CLASSES: usize = 7;
const LARGEST: usize = 1 << (SMALLEST_LOG2 as usize + CLASSES - 1);

/// The free blocks of each class.
pub(super) struct SmallLists {
    first: [Option<NonNull<FreeBlock>>; CLASSES],
}

/// The header of a free block.
struct FreeBlock {
    next: Option<NonNull<FreeBlock>>,
}

// SAFETY: the pointers are to memory that the lists own; only a holder of the heap's lock follows
// them.
unsafe impl Send for SmallLists {}

/// The class that serves `layout`, if it is small.
#[inline]
pub(super) fn class_of(layout: Layout) -> Option<usize> {
    let bytes = layout.size().max(layout.align());
    // The bits of the largest offset in a block that is large enough.
    let last = bytes.saturating_sub(1) | ((1 << SMALLEST_LOG2) - 1);
    (bytes <= LARGEST).then(|| (last.ilog2() + 1 - SMALLEST_LOG2) as usize)
}

/// The layout with which a block of `class` is cut from the heap.
pub(super) fn layout_of(class: usize) -> Layout {
    let bytes = 1 << (SMALLEST_LOG2 as usize + class);
    Layout::from_size_align(bytes, bytes).expect("a power of two is an alignment")
}

impl SmallLists {
    pub(super) const fn new() -> Self {
        Self { first: [None; CLASSES] }
    }

    /// Takes a block of `class`.
    #[inline]
    pub(super) fn take(&mut self, class: usize) -> Option<NonNull<u8>> {
        let block = self.first[class]?;
        // SAFETY: blocks in the list are free memory that `put` wrote a header to.
        self.first[class] = unsafe { block.as_ref().next };
        Some(block.cast())
    }

    /// Gives a block back.
    ///
    /// # Safety
    /// The caller owns `block`, which has the size and alignment of `class`.
    #[inline]
    pub(super) unsafe fn put(&mut self, class: usize, block: NonNull<u8>) {
        let block: NonNull<FreeBlock> = block.cast();
        // SAFETY: the caller's promise; every class is large enough for a header.
        unsafe { block.write(FreeBlock { next: self.first[class] }) };
        self.first[class] = Some(block);
    }
}
