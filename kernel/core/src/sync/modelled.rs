//! Loom's atomics, with two holes of its search closed.
//!
//! Loom explores another order of two accesses only where it sees that they
//! depend on each other, and (0.7) it overlooks two cases:
//!
//! * It remembers the last access to an atomic alone. If thread 1 loads it after
//!   thread 0 has, thread 1's next store is compared with its own load, and the
//!   store is never tried before thread 0's load.
//! * A fence is no event at all: of two fences only one order is explored.
//!
//! So every access here changes a twin first, and every fence a variable that all
//! fences share. Changes do depend on each other. Both are relaxed, and only full
//! fences are in use, so they order nothing that the fences would not.

use loom::sync::atomic;
pub use loom::sync::atomic::Ordering;

loom::lazy_static! {
    static ref FENCES: atomic::AtomicU32 = atomic::AtomicU32::new(0);
}

/// A full fence.
pub fn fence(order: Ordering) {
    assert!(order == Ordering::SeqCst, "the model is sound for full fences only");
    FENCES.fetch_add(1, Ordering::Relaxed);
    atomic::fence(order);
}

macro_rules! modelled {
    ($name:ident, $value:ty, $($rmw:ident)+) => {
        /// An atomic whose accesses all depend on each other.
        #[derive(Debug, Default)]
        #[allow(missing_docs, reason = "as in core")]
        pub struct $name {
            value: atomic::$name,
            twin: atomic::AtomicU32,
        }

        #[allow(missing_docs, reason = "as in core")]
        impl $name {
            pub fn new(value: $value) -> Self {
                Self { value: atomic::$name::new(value), twin: atomic::AtomicU32::new(0) }
            }

            fn access(&self) -> &atomic::$name {
                self.twin.fetch_add(1, Ordering::Relaxed);
                &self.value
            }

            pub fn load(&self, order: Ordering) -> $value {
                self.access().load(order)
            }

            pub fn store(&self, value: $value, order: Ordering) {
                self.access().store(value, order);
            }

            pub fn compare_exchange(
                &self,
                old: $value,
                new: $value,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$value, $value> {
                self.access().compare_exchange(old, new, success, failure)
            }

            pub fn fetch_update(
                &self,
                success: Ordering,
                failure: Ordering,
                update: impl FnMut($value) -> Option<$value>,
            ) -> Result<$value, $value> {
                self.access().fetch_update(success, failure, update)
            }

            $(pub fn $rmw(&self, value: $value, order: Ordering) -> $value {
                self.access().$rmw(value, order)
            })+
        }
    };
}

modelled!(AtomicU32, u32, swap fetch_add fetch_sub fetch_or fetch_and);
modelled!(AtomicU64, u64, swap fetch_add fetch_sub fetch_or fetch_and);
