//! The contents of a free frame, which catch late writes to it.

use core::sync::atomic::{AtomicU32, Ordering};

use arch::addr::{PAGE_SHIFT, PAGE_SIZE, PhysAddr};
use arch::page::{self, Line};

use super::{FREE, FrameNumber};

/// As an address it is in quadrant 1, where nothing can be mapped.
const POISON: u64 = 0x6b6b_f4ee_6b6b_f4ee;
/// How many lines of a frame are poisoned: all of them in test builds, else one, which even a frame
/// that is not in the data cache can afford.
const LINES: usize = if cfg!(feature = "selftest") { PAGE_SIZE as usize / size_of::<Line>() } else { 1 };

#[inline(always)]
fn lines(number: FrameNumber) -> *mut Line {
    PhysAddr(u64::from(number) << PAGE_SHIFT).as_mut_ptr()
}

/// Poisons a frame that is being freed.
#[inline]
pub(super) fn write(number: FrameNumber) {
    for line in 0..LINES {
        // SAFETY: the last reference is gone and the frame not yet on a free list,
        // so it is ours alone; the line is inside it, through the linear map.
        unsafe { page::fill(lines(number).add(line), POISON) };
    }
}

/// Checks a frame that is being handed out, if it was ever freed.
#[inline]
pub(super) fn check_if_poisoned(number: FrameNumber, count: &AtomicU32) {
    match count.load(Ordering::Relaxed) {
        FREE => check(number, POISON),
        0 => {}
        count => has_references(number, count),
    }
}

#[cold]
fn has_references(number: FrameNumber, count: u32) -> ! {
    panic!("frame {number:#x} is on a free list and has {count:#x} references")
}

/// As [`check_if_poisoned`], of a frame that was freed full of zeroes and not poisoned.
pub(super) fn check_if_zero(number: FrameNumber, count: &AtomicU32) {
    let count = count.load(Ordering::Relaxed);
    assert!(count == FREE, "frame {number:#x} is kept as free and has {count:#x} references");
    check(number, 0);
}

#[inline]
fn check(number: FrameNumber, expected: u64) {
    for line in 0..LINES {
        // SAFETY: the frame is off the free lists and not handed out yet, so ours
        // alone; the line is inside it.
        if unsafe { page::difference(lines(number).add(line), expected) } != 0 {
            complain(number, expected);
        }
    }
}

#[cold]
fn complain(number: FrameNumber, expected: u64) -> ! {
    // SAFETY: as in `check`.
    let words = unsafe { core::slice::from_raw_parts(lines(number), LINES) }.as_flattened();
    let at = words.iter().position(|&word| word != expected).unwrap_or(0);
    panic!(
        "frame {number:#x} was written to after it was freed: {:#018x} at offset {:#x}",
        words[at],
        at * size_of::<u64>()
    );
}
