//! What a test breaks on purpose, to see that it is noticed (test builds only).
//!
//! Steps that are left out or done wrong are the oracle's to notice (`crash=KIND`),
//! what is never given back the soak's (`soak_loses=WHAT`).

use core::sync::atomic::{AtomicU32, Ordering};

/// A step of memory management, or the wrong way to do it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub(crate) enum Broken {
    /// No flush before unmapped frames are freed.
    GatherFlush = 1,
    /// A flush of the translations only, before page tables are freed.
    WalkCache,
    /// No flush between a page that is copied on write and its copy.
    CopyFlush,
    /// No final flush of an exit.
    ExitFlush,
    /// An exit clears the process-table entry after the final flush, not before.
    EntryLate,
    /// No flush of the whole TLB by a CPU that goes offline or comes online.
    CpuFlush,
    /// A coprocessor translates without being counted, so flushes are not broadcast.
    CoproAttach,
    /// A page table that was taken out of the tree is not freed.
    LostTable,
    /// A child is made with an `mmgrab` too many.
    ExtraMmgrab,
    /// A child is made with an `mmget` too many.
    ExtraMmget,
    /// A child is made with a block on the heap that nobody frees.
    LostBlock,
}

impl Broken {
    /// What is lost, by its name on the command line.
    pub(crate) fn loss(name: &str) -> Option<Self> {
        Some(match name {
            "frame" => Self::LostTable,
            "mm_count" => Self::ExtraMmgrab,
            "mm_users" => Self::ExtraMmget,
            "block" => Self::LostBlock,
            _ => return None,
        })
    }
}

/// The one that is in force; 0 for none. It orders nothing.
static BROKEN: AtomicU32 = AtomicU32::new(0);

/// From now on `what` is broken.
pub(crate) fn arm(what: Broken) {
    BROKEN.store(what as u32, Ordering::Relaxed);
}

/// Whether `what` is broken; never in a release image, at no cost.
#[inline(always)]
pub(crate) fn is(what: Broken) -> bool {
    cfg!(feature = "selftest") && BROKEN.load(Ordering::Relaxed) == what as u32
}

/// As [`is`], and from now on it is not: for what happens once.
#[inline(always)]
pub(crate) fn once(what: Broken) -> bool {
    is(what) && BROKEN.compare_exchange(what as u32, 0, Ordering::Relaxed, Ordering::Relaxed).is_ok()
}
