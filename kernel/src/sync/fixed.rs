//! Values that are written once at boot and only read from then on.

use core::cell::UnsafeCell;
use core::ops::Deref;

/// A static that the boot CPU sets while it is alone. Readers pay a load and a branch, no barrier:
/// starting another CPU orders all earlier stores before that CPU's loads.
pub(crate) struct Fixed<T>(UnsafeCell<Option<T>>);

// SAFETY: the value is written before any other CPU runs and shared as `&T` from then on.
unsafe impl<T: Send + Sync> Sync for Fixed<T> {}

impl<T> Fixed<T> {
    /// A value that is not set yet.
    pub(crate) const fn unset() -> Self {
        Self(UnsafeCell::new(None))
    }

    /// Sets the value.
    ///
    /// # Panics
    /// If it was set before.
    ///
    /// # Safety
    /// The boot CPU calls this before it starts any other CPU, and not in an interrupt handler.
    pub(crate) unsafe fn set(&self, value: T) {
        assert!(self.try_get().is_none(), "a boot-time value is set twice");
        // SAFETY: no other CPU runs yet (the caller's promise), and no `&T` exists before.
        unsafe { *self.0.get() = Some(value) };
    }

    /// The value, or none before it is set.
    #[inline(always)]
    pub(crate) fn try_get(&self) -> Option<&T> {
        // SAFETY: written while the boot CPU was alone, and never again.
        unsafe { (*self.0.get()).as_ref() }
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
