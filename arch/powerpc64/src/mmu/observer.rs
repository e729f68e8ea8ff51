//! Who looks on while trees and process table change: test builds only (the
//! feature `checks`). In others nothing of this is left.

use core::ptr::null_mut;
use core::sync::atomic::{AtomicPtr, Ordering};

use kcore::mm::Pid;

use crate::addr::PhysAddr;
use crate::encoding::pte::Pte;

/// Whether anybody may look on.
pub(super) const ON: bool = cfg!(feature = "checks");

/// What an observer is told, wherever the change is made: any context, with whatever
/// locks are held there. Trees of the kernel's own are among those that change.
#[derive(Debug)]
pub struct Observer {
    /// The entry at an address of the linear map was the first and is the second.
    pub entry_changed: fn(PhysAddr, Pte, Pte),
    /// The PID is about to get the tree with this root.
    pub tree_set: fn(Pid, PhysAddr),
    /// The PID has no tree any more. Copies of its entry may be cached.
    pub tree_cleared: fn(Pid),
}

/// The one that looks on, or null.
static OBSERVER: AtomicPtr<Observer> = AtomicPtr::new(null_mut());

/// From now on `observer` looks on. The changes before are not told.
pub fn install(observer: &'static Observer) {
    // Release: the functions before the pointer to them. Partner: the acquire below.
    OBSERVER.store(core::ptr::from_ref(observer).cast_mut(), Ordering::Release);
}

/// Tells the observer, if there is one.
#[inline(always)]
pub(super) fn tell(what: impl FnOnce(&Observer)) {
    if ON {
        // SAFETY: null, or what `install` was given, which is never freed.
        if let Some(observer) = unsafe { OBSERVER.load(Ordering::Acquire).as_ref() } {
            what(observer);
        }
    }
}
