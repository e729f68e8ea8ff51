//! Locks whose waiters spin, and sections with preemption or interrupts off.
//!
//! | type | while held | for |
//! |---|---|---|
//! | [`SpinLock`] | preemption off | short sections that no interrupt handler enters |
//! | [`IrqLock`] | interrupts off | short sections that handlers enter too |
//!
//! [`Fixed`] holds a value that is written once, at boot. The lock whose waiters sleep is the
//! scheduler's: [`crate::task::Mutex`].
//!
//! No [`IrqLock`] may be held over a cross-call, nor a [`SpinLock`] that is taken inside one: the
//! called CPU may be spinning for it with interrupts off.

pub(crate) mod fifo;
mod fixed;
pub(crate) mod list;
pub(crate) mod preempt;
mod spin_lock;
mod spin_wait;

pub(crate) use fixed::Fixed;
pub(crate) use spin_lock::{IrqGuard, IrqLock, IrqSection, SpinGuard, SpinLock, with_irqs_off};
pub(crate) use spin_wait::SpinWait;
