//! Sleeping until a condition holds.
//!
//! ```text
//! waiter                              waker
//! enqueue; state = PREPARING          make the condition true
//! full barrier                        full barrier
//! condition? no: sleep                queue empty? no: wake
//! ```
//! Either the waiter sees the condition or the waker sees the waiter. The waiter falls asleep by
//! PREPARING → SLEEPING in its switch. A waker that comes first sets PREPARING → RUNNING, which
//! keeps the waiter awake: no wake-up is lost in between.
//!
//! All waits are loops, so a wake-up for another reason (a deadline, a kill) costs one more turn.

use core::sync::atomic::Ordering;

use arch::timer;
use kcore::handoff::Waiters;
use kcore::machine::IrqsOff;

use super::switch::sleep;
use super::timer::Alarm;
use super::window::Window;
use super::{Task, TaskPtr};
use crate::sync::fifo::{Fifo, Place};
use crate::sync::{IrqLock, with_irqs_off};

/// A wait ended because the task has a kill or a signal pending.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Interrupted;

/// Tasks that wait for something, in order of arrival.
///
/// The lock nests outside the run-queue locks. Conditions run without it; they
/// may take spin locks, but should not sleep.
pub(crate) struct WaitQueue {
    /// How many are queued, so that a waker without waiters takes no lock.
    waiters: Waiters,
    queue: IrqLock<Fifo<TaskPtr>>,
}

/// A waiter: the node of the task that waits, in its first line, which a waker writes anyway.
type Waiter = Place<TaskPtr>;

impl WaitQueue {
    /// A queue without waiters.
    pub(crate) const fn new() -> Self {
        Self { waiters: Waiters::none(), queue: IrqLock::new("a wait queue", Fifo::new()) }
    }

    /// Sleeps until `done`. Interrupts and preemption on.
    pub(crate) fn wait_until(&self, done: impl FnMut() -> bool) {
        let finished = self.wait(done, || false);
        debug_assert!(finished);
    }

    /// Sleeps until `done` or the time base reaches `deadline_tb`; returns
    /// whether it is done. Interrupts and preemption on.
    pub(crate) fn wait_until_deadline(&self, mut done: impl FnMut() -> bool, deadline_tb: u64) -> bool {
        done() || Alarm::set(deadline_tb, || self.wait(done, || timer::now_tb() >= deadline_tb))
    }

    /// Sleeps until `done`, or until a kill or signal is pending for the current
    /// task. Interrupts and preemption on.
    pub(crate) fn wait_interruptible(&self, done: impl FnMut() -> bool) -> Result<(), Interrupted> {
        let me = super::current();
        if self.wait(done, || me.interrupted()) { Ok(()) } else { Err(Interrupted) }
    }

    /// Sleeps until `done`; `Ok(false)` if the time base reaches `deadline_tb` first, `Err` if a
    /// kill or signal is pending for the current task. Interrupts and preemption on.
    pub(crate) fn wait_interruptible_deadline(
        &self,
        mut done: impl FnMut() -> bool,
        deadline_tb: u64,
    ) -> Result<bool, Interrupted> {
        let me = super::current();
        let late = || timer::now_tb() >= deadline_tb;
        if done() || Alarm::set(deadline_tb, || self.wait(done, || me.interrupted() || late())) {
            return Ok(true);
        }
        if me.interrupted() { Err(Interrupted) } else { Ok(false) }
    }

    /// Sleeps until `done` (true) or `give_up` (false).
    #[inline]
    fn wait(&self, mut done: impl FnMut() -> bool, mut give_up: impl FnMut() -> bool) -> bool {
        if done() {
            return true;
        }
        let me = super::current();
        let waiter = &me.wait_node;
        me.check_waits_for_nothing();
        me.waits.store(true, Ordering::Relaxed);
        let first = self.turn(&me, waiter, &mut done, &mut give_up);
        let finished = first.unwrap_or_else(|| self.more_turns(&me, waiter, &mut done, &mut give_up));
        me.waits.store(false, Ordering::Relaxed);
        finished
    }

    /// Sleeps once; whether that is the end of the wait, and how. Most waits are one turn.
    #[inline(always)]
    fn turn(
        &self,
        me: &Task,
        waiter: &Waiter,
        mut done: impl FnMut() -> bool,
        mut give_up: impl FnMut() -> bool,
    ) -> Option<bool> {
        self.enqueue(me, waiter);
        let finished = done();
        if finished || give_up() {
            me.stay_awake();
            Window::LeavesQueue.pass(me);
            self.leave(waiter);
            return Some(finished);
        }
        sleep();
        Window::Awake.pass(me);
        // Told: without the lock, which the waker may hold for longer.
        ((me.told.is_told() || self.was_picked(waiter)) && done()).then_some(true)
    }

    // One for all waits, apart: for a loop a wait would save registers that one turn does not need.
    #[cold]
    #[inline(never)]
    fn more_turns(
        &self,
        me: &Task,
        waiter: &Waiter,
        done: &mut dyn FnMut() -> bool,
        give_up: &mut dyn FnMut() -> bool,
    ) -> bool {
        loop {
            if let Some(finished) = self.turn(me, waiter, &mut *done, &mut *give_up) {
                return finished;
            }
        }
    }

    /// Queues the waiter if it is in no queue, and announces the sleep.
    #[inline(always)]
    fn enqueue(&self, me: &Task, waiter: &Waiter) {
        let mut queue = self.queue.lock();
        if !queue.contains(waiter) {
            // SAFETY: the node is in no list, tasks do not move, and `wait` returns only
            // after it has left the queue.
            unsafe { queue.push_back(waiter) };
            me.told.forget();
            self.waiters.add();
        }
        // Still under the lock: a waker that takes us out of the queue must find a state that its
        // wake-up changes, or the wake-up would be lost. Ends in a full barrier, which orders the
        // queue and the state before the condition. Partner: [`Waiters::are_there`].
        me.prepare_to_sleep();
    }

    /// Whether a waker has taken the waiter out of the queue.
    #[cold]
    fn was_picked(&self, waiter: &Waiter) -> bool {
        !self.queue.lock().contains(waiter)
    }

    /// Takes the waiter out of the queue, at the end of a wait that did not end by being picked.
    #[cold]
    fn leave(&self, waiter: &Waiter) {
        let mut queue = self.queue.lock();
        if queue.contains(waiter) {
            queue.remove(waiter);
            self.waiters.remove();
            return;
        }
        drop(queue);
        // A `wake_one` picked us when we no longer needed it: we pass it to the next waiter.
        self.wake_one();
    }

    /// Wakes the waiter that came first. The caller has made its condition true. Any context.
    #[inline]
    pub(crate) fn wake_one(&self) {
        if self.waiters.are_there() {
            self.wake_queued();
        }
    }

    #[cold]
    fn wake_queued(&self) {
        with_irqs_off(|off| self.wake_first(&mut self.queue.lock_with(off), off));
    }

    /// Wakes all waiters. The caller has made their condition true. Any context.
    pub(crate) fn wake_all(&self) {
        if self.waiters.are_there() {
            with_irqs_off(|off| {
                let mut queue = self.queue.lock_with(off);
                while self.wake_first(&mut queue, off) {}
            });
        }
    }

    /// Wakes the first of `queue`, which is ours, with its lock held. Returns whether there was one.
    #[inline]
    fn wake_first(&self, queue: &mut Fifo<TaskPtr>, off: &IrqsOff) -> bool {
        let Some(waiter) = queue.pop_front() else { return false };
        self.waiters.remove();
        // SAFETY: a waiter leaves only after `tell`, or through the queue's lock, which we
        // hold, so the task cannot end while we wake it.
        let waiter = unsafe { waiter.get() };
        Window::Picked.pass(waiter);
        waiter.wake_with(off);
        // Last: it may leave its wait from here on.
        waiter.told.tell();
        true
    }
}
