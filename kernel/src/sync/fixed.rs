//! Values that are written once at boot and only read from then on.

use core::cell::UnsafeCell;
use core::mem::MaybeUninit;
use core::ops::Deref;
use core::sync::atomic::{AtomicBool, Ordering};

/// Another CPU may run: nothing is set any more.
static CLOSED: AtomicBool = AtomicBool::new(false);

/// From now on no [`Fixed`] can be set. The boot CPU calls this before it starts
/// any other.
pub(crate) fn close() {
    CLOSED.store(true, Ordering::Relaxed);
}

/// A static that the boot CPU sets while it is alone. Readers pay a load and a
/// branch, no barrier: starting another CPU orders everything written before.
pub(crate) struct Fixed<T> {
    set: AtomicBool,
    value: UnsafeCell<MaybeUninit<T>>,
}

// SAFETY: the value is written before any other CPU runs (`set` refuses later)
// and shared as `&T` from then on.
unsafe impl<T: Send + Sync> Sync for Fixed<T> {}

impl<T> Fixed<T> {
    /// A value that is not set yet.
    pub(crate) const fn new() -> Self {
        Self { set: AtomicBool::new(false), value: UnsafeCell::new(MaybeUninit::uninit()) }
    }

    /// Sets the value. On the boot CPU, not in an interrupt handler.
    ///
    /// # Panics
    /// If it was set before, or if other CPUs may run.
    pub(crate) fn set(&self, value: T) {
        assert!(!CLOSED.load(Ordering::Relaxed), "a boot-time value is set after the boot");
        assert!(!self.set.load(Ordering::Relaxed), "a boot-time value is set twice");
        // SAFETY: no other CPU runs, and no `&T` exists while `set` is false.
        unsafe { (*self.value.get()).write(value) };
        // Relaxed: whoever reads it is this CPU or one that is started later.
        self.set.store(true, Ordering::Relaxed);
    }

    /// The value, or none before it is set.
    #[inline(always)]
    pub(crate) fn try_get(&self) -> Option<&T> {
        // Relaxed: see `set`.
        if !self.set.load(Ordering::Relaxed) {
            return None;
        }
        // SAFETY: `set` says that it was written, and it is never written again.
        Some(unsafe { (*self.value.get()).assume_init_ref() })
    }

    /// The value.
    ///
    /// # Panics
    /// If it is used before it is set.
    #[inline(always)]
    pub(crate) fn get(&self) -> &T {
        self.try_get().expect("a boot-time value is used before it is set")
    }
}

impl<T> Deref for Fixed<T> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        self.get()
    }
}
