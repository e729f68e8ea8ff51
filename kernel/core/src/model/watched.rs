//! State of the model that is no memory of the machine.

use std::sync::{Mutex, MutexGuard};

#[cfg(loom)]
use crate::sync::Event;

/// What stands for hardware, such as a TLB: an access orders no memory, but the model
/// checker must know of it to try the accesses of several CPUs in every order.
#[derive(Default)]
pub(super) struct Watched<T> {
    value: Mutex<T>,
    #[cfg(loom)]
    accesses: Event,
}

impl<T> Watched<T> {
    /// Use it at once: no other thread may run meanwhile.
    pub(super) fn access(&self) -> MutexGuard<'_, T> {
        #[cfg(loom)]
        self.accesses.touch();
        self.value.lock().unwrap()
    }
}
