//! The contents of a free frame, which catch late writes to it.

use core::sync::atomic::{AtomicU32, Ordering};

use arch::addr::{PAGE_SHIFT, PAGE_SIZE, PhysAddr};

use super::{FREE, FrameNumber};

/// As an address it is in quadrant 1, where nothing can be mapped.
const POISON: u64 = 0x6b6b_f4ee_6b6b_f4ee;
/// How much of a frame is poisoned: all of it in test builds, else one cache line, which even a
/// frame that is not in the data cache can afford.
const BYTES: u64 = if cfg!(feature = "selftest") { PAGE_SIZE } else { 128 };
const WORDS: usize = BYTES as usize / size_of::<u64>();

fn words(number: FrameNumber) -> *mut [u64; WORDS] {
    PhysAddr(u64::from(number) << PAGE_SHIFT).as_mut_ptr()
}

/// Poisons a frame that is being freed.
#[inline]
pub(super) fn write(number: FrameNumber) {
    let words = words(number).cast::<u64>();
    // Word by word: an array to copy from would lie on the stack, a page of it.
    for word in 0..WORDS {
        // SAFETY: the last reference is gone and the frame not yet on a free list,
        // so it is ours alone; the word is inside it, through the linear map.
        unsafe { words.add(word).write(POISON) };
    }
}

/// Checks a frame that is being handed out, if it was ever freed.
#[inline]
pub(super) fn check_if_poisoned(number: FrameNumber, count: &AtomicU32) {
    match count.load(Ordering::Relaxed) {
        FREE => check(number, POISON),
        0 => {}
        count => panic!("frame {number:#x} is on a free list and has {count:#x} references"),
    }
}

/// As [`check_if_poisoned`], of a frame that was freed full of zeroes and not poisoned.
pub(super) fn check_if_zero(number: FrameNumber, count: &AtomicU32) {
    let count = count.load(Ordering::Relaxed);
    assert!(count == FREE, "frame {number:#x} is kept as free and has {count:#x} references");
    check(number, 0);
}

#[inline]
fn check(number: FrameNumber, expected: u64) {
    let words = words(number).cast::<u64>();
    // Without branches, since the poison is nearly always intact. Volatile, since the compiler
    // does not know of a stray store.
    let mut wrong = 0;
    for word in 0..WORDS {
        // SAFETY: the frame is off the free lists and not handed out yet, so ours
        // alone; the word is inside it.
        wrong |= unsafe { words.add(word).read_volatile() } ^ expected;
    }
    if wrong != 0 {
        complain(number, expected);
    }
}

#[cold]
fn complain(number: FrameNumber, expected: u64) -> ! {
    // SAFETY: as in `check`.
    let words = unsafe { &*words(number) };
    let at = words.iter().position(|&word| word != expected).unwrap_or(0);
    panic!(
        "frame {number:#x} was written to after it was freed: {:#018x} at offset {:#x}",
        words[at],
        at * size_of::<u64>()
    );
}
