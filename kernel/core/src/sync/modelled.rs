//! Loom's atomics, with two holes of its search closed.
//!
//! Loom explores another order of two accesses only where it sees that they
//! depend on each other, and (0.7) it overlooks two cases:
//!
//! * It remembers only the last access to an atomic. If thread 1 loads it after thread 0
//!   has, thread 1's next store is compared with its own load, and the store is never
//!   tried before thread 0's load.
//! * A fence is no event at all: of the two orders of two fences it explores one.
//!
//! So the loads of an atomic by one thread are an [`Event`] of their own here, which
//! the stores of others touch, and all fences touch one. Two loads stay independent,
//! which is what makes exhaustive searches possible.

use std::sync::Mutex;

use loom::sync::{Condvar, atomic};
use loom::thread::{self, ThreadId};

pub use loom::sync::atomic::Ordering;

/// A condition variable that no thread waits for. Two touches depend on each other, so
/// the search tries both orders; a touch orders no memory.
#[derive(Debug, Default)]
pub(crate) struct Event(Condvar);

impl Event {
    pub(crate) fn touch(&self) {
        self.0.notify_one();
    }

    /// Touches in one step with the access before: the search moves the two together, and
    /// tries nothing in between.
    fn touch_in_same_step(&self) {
        loom::stop_exploring();
        self.touch();
        loom::explore();
    }
}

loom::lazy_static! {
    /// Made with the first atomic, before the threads that share it. Loom orders the
    /// making of a lazy static before each use: between threads that would be a false
    /// order.
    static ref FENCES: Event = Event::default();
}

/// A full fence.
pub fn fence(order: Ordering) {
    assert!(order == Ordering::SeqCst, "the model is sound for full fences only");
    FENCES.touch();
    atomic::fence(order);
}

/// The threads that have loaded an atomic. The lock is never contended: loom runs one
/// thread at a time, and switches to no other while it is held.
#[derive(Debug, Default)]
struct Loads(Mutex<Vec<(ThreadId, Event)>>);

impl Loads {
    /// This thread has just loaded.
    fn loaded(&self) {
        let (me, mut loads) = (thread::current().id(), self.0.lock().unwrap());
        let known = loads.iter().position(|&(thread, _)| thread == me);
        let mine = known.unwrap_or_else(|| {
            loads.push((me, Event::default()));
            loads.len() - 1
        });
        loads[mine].1.touch_in_same_step();
    }

    /// This thread has just stored, or may have.
    fn stored(&self) {
        let (me, loads) = (thread::current().id(), self.0.lock().unwrap());
        loads.iter().filter(|&&(thread, _)| thread != me).for_each(|(_, event)| event.touch_in_same_step());
    }
}

macro_rules! modelled {
    ($name:ident, $value:ty, $($rmw:ident)+) => {
        /// An atomic whose loads are all remembered.
        #[derive(Debug)]
        #[allow(missing_docs, reason = "as in core")]
        pub struct $name {
            value: atomic::$name,
            loads: Loads,
        }

        impl Default for $name {
            fn default() -> Self {
                Self::new(0)
            }
        }

        #[allow(missing_docs, reason = "as in core")]
        impl $name {
            pub fn new(value: $value) -> Self {
                let _: &Event = &FENCES;
                Self { value: atomic::$name::new(value), loads: Loads::default() }
            }

            fn change<R>(&self, change: impl FnOnce(&atomic::$name) -> R) -> R {
                let result = change(&self.value);
                self.loads.stored();
                result
            }

            pub fn load(&self, order: Ordering) -> $value {
                let value = self.value.load(order);
                self.loads.loaded();
                value
            }

            pub fn store(&self, value: $value, order: Ordering) {
                self.change(|atomic| atomic.store(value, order));
            }

            pub fn compare_exchange(
                &self,
                old: $value,
                new: $value,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$value, $value> {
                self.change(|atomic| atomic.compare_exchange(old, new, success, failure))
            }

            pub fn fetch_update(
                &self,
                success: Ordering,
                failure: Ordering,
                update: impl FnMut($value) -> Option<$value>,
            ) -> Result<$value, $value> {
                self.change(|atomic| atomic.fetch_update(success, failure, update))
            }

            $(pub fn $rmw(&self, value: $value, order: Ordering) -> $value {
                self.change(|atomic| atomic.$rmw(value, order))
            })+
        }
    };
}

modelled!(AtomicU32, u32, swap fetch_add fetch_sub fetch_or fetch_and);
modelled!(AtomicU64, u64, swap fetch_add fetch_sub fetch_or fetch_and);
