//! Steps that a test leaves out, to see the oracle notice (test builds only).

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
    #[cfg(feature = "selftest")]
    CoproAttach,
}

/// The one that is in force; 0 for none. It orders nothing.
static BROKEN: AtomicU32 = AtomicU32::new(0);

/// From now on `what` is broken.
#[cfg(feature = "selftest")]
pub(crate) fn arm(what: Broken) {
    BROKEN.store(what as u32, Ordering::Relaxed);
}

/// Whether `what` is broken; never in a release image, at no cost.
#[inline(always)]
pub(crate) fn is(what: Broken) -> bool {
    cfg!(feature = "selftest") && BROKEN.load(Ordering::Relaxed) == what as u32
}
