//! The observer of changes of trees and process table, in test builds only (the feature
//! `checks`). In other builds nothing of this is left.

use core::ptr::null_mut;
use core::sync::atomic::{AtomicPtr, Ordering};

use kcore::mm::Pid;

use crate::addr::PhysAddr;
use crate::encoding::pte::Pte;

/// Whether there can be an observer.
pub(super) const ON: bool = cfg!(feature = "checks");

/// An observer's functions. They run where the change is made: in any context, with the locks
/// that are held there. The kernel's own tree is observed, too.
#[derive(Debug)]
pub struct Observer {
    /// The entry at an address of the linear map was the first and is the second.
    pub entry_changed: fn(PhysAddr, Pte, Pte),
    /// The PID is about to get the tree with this root.
    pub tree_set: fn(Pid, PhysAddr),
    /// The PID has no tree any more. Copies of its entry may be cached.
    pub tree_cleared: fn(Pid),
}

/// The observer, or null.
static OBSERVER: AtomicPtr<Observer> = AtomicPtr::new(null_mut());

/// Reports all later changes to `observer`.
pub fn install(observer: &'static Observer) {
    // F49 release: orders the functions before the pointer to them. Partner: `tell`.
    OBSERVER.store(core::ptr::from_ref(observer).cast_mut(), Ordering::Release);
}

/// Reports to the observer, if there is one.
#[inline(always)]
pub(super) fn tell(what: impl FnOnce(&Observer)) {
    if ON {
        // SAFETY: null, or what `install` was given, which is never freed.
        // F49 acquire: orders the pointer before the calls of the functions. Partner: `install`.
        if let Some(observer) = unsafe { OBSERVER.load(Ordering::Acquire).as_ref() } {
            what(observer);
        }
    }
}
