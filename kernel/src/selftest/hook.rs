//! An action of a test at a place, once: a move to another CPU, a look.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::ptr::{self, null_mut};
use core::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

use super::points::Place;
use crate::sync::IrqLock;
use crate::task::current;

/// The action, and the task that runs it.
struct Hook {
    /// The task, or none for the first that comes.
    tid: Option<u32>,
    action: Box<dyn Fn() + Send + Sync>,
}

/// The place of the hook. One at a time is enough: tests run one after the other.
static ARMED: AtomicU64 = AtomicU64::new(NOWHERE);
/// Instead of a place: no hook.
const NOWHERE: u64 = u64::MAX;
/// The hook, or null. Hooks are never freed, since a CPU may still be at a disarmed one; they are
/// few and small.
static HOOK: AtomicPtr<Hook> = AtomicPtr::new(null_mut());

/// An armed hook. It goes when a task has reached it, or this is dropped.
pub(super) struct Armed<R>(Arc<IrqLock<Option<R>>>);

impl<R: Copy> Armed<R> {
    /// The result of its action; none if no task came.
    pub(super) fn found(&self) -> Option<R> {
        *self.0.lock()
    }
}

impl<R> Drop for Armed<R> {
    fn drop(&mut self) {
        ARMED.store(NOWHERE, Ordering::Relaxed);
    }
}

/// When the current task reaches `place`, it runs `action`, once.
pub(super) fn arm<R: Send + 'static>(
    place: impl Into<Place>,
    action: impl Fn() -> R + Send + Sync + 'static,
) -> Armed<R> {
    arm_for(Some(current().tid()), place.into(), action)
}

/// The first task that reaches `place` runs `action`, once.
pub(super) fn arm_for_anyone<R: Send + 'static>(
    place: impl Into<Place>,
    action: impl Fn() -> R + Send + Sync + 'static,
) -> Armed<R> {
    arm_for(None, place.into(), action)
}

fn arm_for<R: Send + 'static>(
    tid: Option<u32>,
    place: Place,
    action: impl Fn() -> R + Send + Sync + 'static,
) -> Armed<R> {
    let found = Arc::new(IrqLock::new("what a hook has found", None));
    let told = found.clone();
    let action = Box::new(move || {
        let result = action();
        *told.lock() = Some(result);
    });
    HOOK.store(ptr::from_mut(Box::leak(Box::new(Hook { tid, action }))), Ordering::Relaxed);
    // Release: orders the hook before its place. Partner: the acquire in `reached`.
    ARMED.store(place.bits(), Ordering::Release);
    Armed(found)
}

/// This CPU is at `place`.
#[inline]
pub(super) fn reached(place: Place) {
    // Acquire: see `arm_for`.
    if ARMED.load(Ordering::Acquire) == place.bits() {
        act(place);
    }
}

#[cold]
fn act(place: Place) {
    // SAFETY: stored before the place, and never freed.
    let hook = unsafe { &*HOOK.load(Ordering::Relaxed) };
    if hook.tid.is_some_and(|tid| tid != current().tid()) {
        return;
    }
    if ARMED.compare_exchange(place.bits(), NOWHERE, Ordering::Acquire, Ordering::Relaxed).is_ok() {
        (hook.action)();
    }
}
