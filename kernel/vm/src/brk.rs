//! The program break: to the byte for the program, whole pages for the kernel.

use core::ops::Range;

use crate::page_up;

/// The heap of one address space.
#[derive(Clone, Copy, Default, Debug)]
pub struct Break {
    /// Where the heap begins: behind `.bss`, not page-aligned.
    start: u64,
    /// The break: the first byte behind the heap.
    now: u64,
}

/// The change of mappings that a new break needs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum BreakChange {
    /// Refused: the break stays.
    None,
    /// The pages stay.
    SamePages,
    /// These pages are to be mapped first.
    Grow(Range<u64>),
    /// These pages are to be unmapped.
    Shrink(Range<u64>),
}

impl Break {
    /// An empty heap at `start`.
    pub fn at(start: u64) -> Self {
        Self { start, now: start }
    }

    /// The break.
    pub fn get(&self) -> u64 {
        self.now
    }

    /// From the start of the heap to the break.
    pub fn range(&self) -> Range<u64> {
        self.start..self.now
    }

    /// The change of mappings that makes `new` the break.
    pub fn change(&self, new: u64) -> BreakChange {
        let (Some(old_end), Some(new_end)) = (page_up(self.now), page_up(new)) else {
            return BreakChange::None;
        };
        if self.start == 0 || new < self.start {
            return BreakChange::None;
        }
        match new_end.cmp(&old_end) {
            core::cmp::Ordering::Equal => BreakChange::SamePages,
            core::cmp::Ordering::Greater => BreakChange::Grow(old_end..new_end),
            core::cmp::Ordering::Less => BreakChange::Shrink(new_end..old_end),
        }
    }

    /// Makes `new` the break, after the pages were changed as
    /// [`Break::change`] asked.
    pub fn set(&mut self, new: u64) {
        self.now = new;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_and_pages() {
        let mut heap = Break::at(0x1234_5678);
        assert_eq!(heap.change(0), BreakChange::None);
        assert_eq!(heap.change(0x1234_5677), BreakChange::None);
        // The first page is the one that .bss ends in: mapped already.
        assert_eq!(heap.change(0x1234_5ff0), BreakChange::SamePages);
        assert_eq!(heap.change(0x1234_6000), BreakChange::SamePages);
        assert_eq!(heap.change(0x1234_6001), BreakChange::Grow(0x1234_6000..0x1234_7000));
        heap.set(0x1234_6001);
        assert_eq!(heap.get(), 0x1234_6001);
        assert_eq!(heap.change(0x1234_5678), BreakChange::Shrink(0x1234_6000..0x1234_7000));
        assert_eq!(heap.change(u64::MAX), BreakChange::None);
    }

    #[test]
    fn a_heap_that_was_never_set_up_refuses() {
        assert_eq!(Break::default().change(0x1000), BreakChange::None);
    }
}
