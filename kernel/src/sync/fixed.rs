//! Values that are written once at boot and only read from then on.

use core::cell::UnsafeCell;
use core::mem::MaybeUninit;
use core::ops::Deref;
use core::sync::atomic::{AtomicBool, Ordering};

/// A static that the boot CPU sets while it is alone. Readers pay a load and a branch, no barrier:
/// starting another CPU orders all earlier stores before that CPU's loads.
pub(crate) struct Fixed<T> {
    set: AtomicBool,
    value: UnsafeCell<MaybeUninit<T>>,
}

// SAFETY: the value is written before any other CPU runs and shared as `&T` from then on.
unsafe impl<T: Send + Sync> Sync for Fixed<T> {}

impl<T> Fixed<T> {
    /// A value that is not set yet.
    pub(crate) const fn unset() -> Self {
        Self { set: AtomicBool::new(false), value: UnsafeCell::new(MaybeUninit::uninit()) }
    }

    /// Sets the value.
    ///
    /// # Panics
    /// If it was set before.
    ///
    /// # Safety
    /// The boot CPU calls this before it starts any other CPU, and not in an interrupt handler.
    pub(crate) unsafe fn set(&self, value: T) {
        assert!(!self.set.load(Ordering::Relaxed), "a boot-time value is set twice");
        // SAFETY: no other CPU runs yet (the caller's promise), and no `&T` exists while `set` is
        // false.
        unsafe { (*self.value.get()).write(value) };
        // Relaxed: the readers are this CPU and CPUs that are started later.
        self.set.store(true, Ordering::Relaxed);
    }

    /// The value, or none before it is set.
    #[inline(always)]
    pub(crate) fn try_get(&self) -> Option<&T> {
        // Relaxed: see `set`.
        if !self.set.load(Ordering::Relaxed) {
            return None;
        }
        // SAFETY: it was written before `set` was true, and is never written again.
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
