//! Holding the protocol at its named points.
//!
//! A test gives one of its threads something to do when it reaches a point: move
//! to another CPU, wait for another thread, count. Other tasks pass by.

use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use kcore::machine::Point;

use crate::task::current;

/// One hook at a time is enough: tests run one after the other.
static POINT: AtomicU32 = AtomicU32::new(u32::MAX);
static TID: AtomicU32 = AtomicU32::new(0);
static ACTION: AtomicUsize = AtomicUsize::new(0);
static REACHED: AtomicU32 = AtomicU32::new(0);

/// When the current task reaches `point`, it runs `action`, once.
pub(super) fn arm(point: Point, action: fn()) {
    TID.store(current().tid(), Ordering::Relaxed);
    ACTION.store(action as usize, Ordering::Relaxed);
    REACHED.store(0, Ordering::Relaxed);
    // Release: pairs with the acquire in `reached`.
    POINT.store(point as u32, Ordering::Release);
}

/// Takes back a hook that was not reached.
pub(super) fn disarm() {
    POINT.store(u32::MAX, Ordering::Relaxed);
}

/// How often the armed point was reached by its task since [`arm`]: 0 or 1.
pub(super) fn times_reached() -> u32 {
    REACHED.load(Ordering::Relaxed)
}

/// The protocol is at `point`; from `Machine::point`.
#[inline]
pub(crate) fn reached(point: Point) {
    // Acquire: pairs with the release in `arm`.
    if POINT.load(Ordering::Acquire) != point as u32 || TID.load(Ordering::Relaxed) != current().tid() {
        return;
    }
    POINT.store(u32::MAX, Ordering::Relaxed);
    REACHED.fetch_add(1, Ordering::Relaxed);
    // SAFETY: `arm` stores a `fn()` here before it stores the point.
    let action = unsafe { core::mem::transmute::<usize, fn()>(ACTION.load(Ordering::Relaxed)) };
    action();
}
