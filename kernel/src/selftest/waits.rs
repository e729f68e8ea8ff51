//! The promises of locks and waits to their callers.

use core::sync::atomic::{AtomicBool, Ordering};

use arch::{irqflags, timer};

use super::stage::in_us;
use super::{Test, Verdict, check, check_eq};
use crate::sync::preempt;
use crate::sync::{IrqLock, SpinLock};
use crate::task::{self, pending};
use crate::task::{Interrupted, Mutex, WaitQueue};

pub(super) const TESTS: &[Test] = &[
    Test::new("locks_keep_the_context", locks_keep_the_context),
    Test::new("waits_end_as_they_say", waits_end_as_they_say),
];

/// A lock turns off its interrupts or preemption while it is held, and restores the state before.
fn locks_keep_the_context() -> Verdict {
    let (spin, irq, mutex) = (SpinLock::new("a test's", 0), IrqLock::new("a test's", 0), Mutex::new(0));
    let context = || (irqflags::are_enabled(), preempt::is_enabled());
    let under_spin = {
        let _held = spin.lock();
        context()
    };
    let under_irq = {
        let _outer = irq.lock();
        let inner = IrqLock::new("a test's inner one", 0);
        drop(inner.lock());
        context()
    };
    let under_mutex = {
        let held = mutex.lock();
        (context(), mutex.try_lock().is_none(), drop(held)).0
    };
    let off = irqflags::disable();
    drop(irq.lock());
    let stays_off = !irqflags::are_enabled();
    drop(off);
    check_eq!(under_spin, (true, false), "interrupts and preemption under a spin lock");
    check_eq!(under_irq, (false, false), "the same under a lock that handlers share");
    check_eq!(under_mutex, (true, true), "the same under a mutex");
    check!(stays_off, "a lock turned interrupts on that were off before");
    check_eq!(context(), (true, true), "the same after all of them");
    check!(mutex.try_lock().is_some(), "a mutex that was unlocked is locked");
    Ok(())
}

/// Done, late or interrupted: each wait returns which, and done comes first.
fn waits_end_as_they_say() -> Verdict {
    let (queue, me) = (WaitQueue::new(), task::current());
    let soon = || in_us(500);
    let past = timer::now_tb();
    let deadline_tb = soon();
    let late = queue.wait_until_deadline(|| false, deadline_tb);
    check!(timer::now_tb() >= deadline_tb, "a wait ended before its deadline");
    check_eq!(late, false, "a wait that is late");
    check_eq!(queue.wait_until_deadline(|| true, past), true, "a wait that is done, though late");
    check_eq!(queue.wait_interruptible(|| true), Ok(()), "a wait that is done");
    check_eq!(queue.wait_interruptible_deadline(|| false, soon()), Ok(false), "an interruptible one, late");
    // A condition that comes true on the way to the sleep.
    let looked = AtomicBool::new(false);
    let second = || looked.fetch_xor(true, Ordering::Relaxed);
    check_eq!(queue.wait_interruptible(second), Ok(()), "a wait that is done at the second look");
    me.notify(pending::SIGNAL);
    let found = (
        queue.wait_interruptible(|| false),
        queue.wait_interruptible(|| true),
        queue.wait_interruptible(second),
        queue.wait_interruptible_deadline(|| false, soon()),
        queue.wait_interruptible_deadline(|| true, past),
        queue.wait_until_deadline(|| false, soon()),
    );
    me.clear_pending(pending::SIGNAL);
    let expected = (Err(Interrupted), Ok(()), Ok(()), Err(Interrupted), Ok(true), false);
    check_eq!(found, expected, "waits with a signal pending");
    Ok(())
}
