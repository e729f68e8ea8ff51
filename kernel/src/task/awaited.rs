//! A value that tasks wait for. Its lock guards the waiters too.
//!
//! ```text
//! waiter                                 who changes the value
//! lock; not ready: state = PREPARING;    lock; change it; is it ready, and does one wait?
//! queue; unlock                          take that one out; state = RUNNING;
//! sleep                                  it slept: run it again; unlock
//! lock; look again
//! ```
//! **No wake-up is lost.** The lock orders the two sections. If the waiter's comes first, the other
//! finds it in the queue, and PREPARING or SLEEPING in its state. Every section, a waiter's too, ends
//! with the look: a value that is still ready wakes the next. So a change wakes one waiter, and no
//! wake-up is lost with a waiter that was interrupted, or that came too late for the value.
//!
//! **No waiter is touched after its end.** It leaves its wait under the lock, which its waker holds.

use core::ops::{Deref, DerefMut};

use kcore::machine::IrqsOff;

use super::descriptor::{Task, TaskPtr, current};
use super::placement;
use super::switch::sleep_within;
use super::wait_queue::Interrupted;
use super::window::Window;
use crate::sync::fifo::Fifo;
use crate::sync::{IrqGuard, IrqLock, IrqSection};

/// A value that can be ready for one who waits.
pub(crate) trait Ready {
    /// Whether one of the waiters would not wait now.
    fn is_ready(&self) -> bool;
}

/// A value, and the tasks that wait until it is ready, in order of arrival. Interrupts are off while
/// the lock is held; run-queue locks nest inside.
pub(crate) struct Awaited<T>(IrqLock<Inner<T>>);

#[repr(C)]
struct Inner<T> {
    waiters: Fifo<TaskPtr>,
    value: T,
}

/// The value, locked. Its drop wakes a waiter if the value is ready.
pub(crate) struct Section<'a, T: Ready> {
    // In this order: the lock is given back before interrupts are on.
    held: Held<'a, T>,
    irqs: IrqSection,
    of: &'a Awaited<T>,
}

struct Held<'a, T: Ready>(IrqGuard<'a, Inner<T>>);

impl<T: Ready> Awaited<T> {
    /// `value`, for which nobody waits. `name` stands in a deadlock report.
    pub(crate) const fn new(name: &'static str, value: T) -> Self {
        Self(IrqLock::new(name, Inner { waiters: Fifo::new(), value }))
    }

    /// Takes the lock. Interrupts on.
    #[inline(always)]
    pub(crate) fn lock(&self) -> Section<'_, T> {
        let irqs = IrqSection::begin_first();
        Section { held: self.hold(&irqs), irqs, of: self }
    }

    #[inline(always)]
    fn hold(&self, irqs: &IrqSection) -> Held<'_, T> {
        Held(self.0.lock_within(irqs))
    }
}

impl<T: Ready> Section<'_, T> {
    /// Unlocks the value, which is not ready, sleeps until it may be, and locks it; unless a kill or a
    /// signal is pending for the current task. Preemption on.
    #[inline(always)]
    pub(crate) fn wait(self) -> Result<Self, Interrupted> {
        let Section { mut held, mut irqs, of } = self;
        let me = current();
        let prepared = held.prepare(&me);
        drop(held);
        if !prepared {
            return Err(Interrupted);
        }
        sleep_within(&mut irqs);
        Window::Awake.pass(&me);
        let mut held = of.hold(&irqs);
        held.leave(&me);
        Ok(Section { held, irqs, of })
    }
}

impl<T: Ready> Held<'_, T> {
    /// The running task is about to sleep, and queued; false if it is interrupted and stays awake.
    #[inline(always)]
    fn prepare(&mut self, me: &Task) -> bool {
        me.check_waits_for_nothing();
        // Under the lock: a waker that takes us out finds a state that its wake-up changes. The
        // barrier in it orders the state before the look at the pending bits. Partner: `notify`.
        me.prepare_to_sleep();
        if me.interrupted() {
            me.stay_awake();
            return false;
        }
        // SAFETY: the node is in no list, tasks do not move, and `wait` returns only after the node
        // has left the queue.
        unsafe { self.0.waiters.push_back(&me.wait_node) };
        true
    }

    /// The running task waits no longer. It is still queued if something else has woken it.
    #[inline(always)]
    fn leave(&mut self, me: &Task) {
        if self.0.waiters.contains(&me.wait_node) {
            self.0.waiters.remove(&me.wait_node);
        }
    }
}

impl<T: Ready> Drop for Held<'_, T> {
    #[inline(always)]
    fn drop(&mut self) {
        if !self.0.waiters.is_empty() && self.0.value.is_ready() {
            self.0.with_token(|inner, off| wake_first(&mut inner.waiters, off));
        }
    }
}

/// Wakes the first of `waiters`, which their lock's holder has.
// Not inlined: it needs no frame of its own.
#[inline(never)]
fn wake_first(waiters: &mut Fifo<TaskPtr>, off: &IrqsOff) {
    let Some(waiter) = waiters.pop_front() else { return };
    // SAFETY: it leaves its wait, and can end, only with the lock, which we hold.
    let waiter = unsafe { waiter.get() };
    Window::Picked.pass(waiter);
    if waiter.rouse() {
        placement::queue(waiter, off);
    }
}

impl<T: Ready> Deref for Section<'_, T> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        &self.held.0.value
    }
}

impl<T: Ready> DerefMut for Section<'_, T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut T {
        &mut self.held.0.value
    }
}
