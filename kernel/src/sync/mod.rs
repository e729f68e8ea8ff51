//! Locks and waiting.
//!
//! | type | while held | for |
//! |---|---|---|
//! | [`SpinLock`] | preemption off | short sections that no interrupt handler enters |
//! | [`IrqLock`] | interrupts off | the same, and handlers enter them too |
//! | [`Mutex`] | nothing off; waiters sleep | sections that may sleep or cross-call |
//!
//! [`WaitQueue`] is what everything that sleeps sleeps on; [`Fixed`] is for what
//! is written once at boot.
//!
//! No [`IrqLock`] may be held over a cross-call, nor a [`SpinLock`] that is taken
//! inside one: the CPU that is called may be spinning for it with interrupts off.

mod fixed;
mod irq_lock;
pub(crate) mod list;
mod mutex;
mod spin_lock;
mod spin_wait;
mod wait_queue;

pub(crate) use fixed::Fixed;
pub(crate) use irq_lock::{IrqGuard, IrqLock};
pub(crate) use mutex::{Mutex, MutexGuard};
pub(crate) use spin_lock::{SpinGuard, SpinLock};
pub(crate) use spin_wait::SpinWait;
pub(crate) use wait_queue::{Interrupted, WaitQueue};
