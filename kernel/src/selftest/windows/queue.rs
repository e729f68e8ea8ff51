//! Waiters that stop waiting for another reason while they are being woken.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicU32, Ordering};

use arch::percpu;

use super::{actor_on, hold};
use crate::selftest::gate::{Gate, expect_end, expect_rest};
use crate::selftest::script::{self, script};
use crate::selftest::stage::{in_us, last_others};
use crate::selftest::{Verdict, check, check_eq};
use crate::task::{self, TaskRef, Window, kthread, pending};

/// How a wait ended.
const PASSED: u32 = 1;
const GAVE_UP: u32 = 2;

/// Two tasks wait. The first gives up, and the only wake-up picks it before it has left the queue:
/// the wake-up is for the second. `wait` is the first's wait, `disturb` makes it give up.
fn gives_up_when_picked(wait: fn(&Gate) -> bool, disturb: impl FnOnce(&TaskRef)) -> Verdict {
    let [cpu] = last_others()?;
    let me = percpu::cpu_id();
    let (gate, ended) = (Gate::new(), Arc::new(AtomicU32::new(0)));
    let (seen, told) = (gate.clone(), ended.clone());
    let first = actor_on(cpu, move || {
        let how = if wait(&seen) { PASSED } else { GAVE_UP };
        task::current().clear_pending(pending::SIGNAL);
        told.store(how, Ordering::Release);
    });
    let play = hold(cpu, Window::LeavesQueue.of(&first), me);
    disturb(&first);
    script::wait_until_passed(1);
    let seen = gate.clone();
    let second = kthread::spawn_on(me, "test-second", move || seen.waiters.wait_until(|| seen.pass()));
    let waits = expect_rest(&second);
    gate.open();
    script::mark();
    waits?;
    expect_end(&first, "a waiter that gave up does not end")?;
    expect_end(&second, "the wake-up of a waiter that gave up was lost")?;
    check_eq!(ended.load(Ordering::Acquire), GAVE_UP, "how the first wait ended");
    play.complete()
}

/// A signal comes just before the wake-up.
pub(super) fn interrupted_when_woken() -> Verdict {
    gives_up_when_picked(
        |gate| gate.waiters.wait_interruptible(|| gate.pass()).is_ok(),
        |first| first.notify(pending::SIGNAL),
    )
}

/// The deadline comes just before the wake-up.
pub(super) fn late_when_woken() -> Verdict {
    gives_up_when_picked(
        |gate| {
            let deadline_tb = in_us(2000);
            gate.waiters.wait_until_deadline(|| gate.pass(), deadline_tb)
        },
        |_| (),
    )
}

/// A waiter is awake for another reason while a waker has picked it: it waits for the waker, whose
/// queue has a node on the waiter's stack.
pub(super) fn awake_while_the_waker_walks() -> Verdict {
    let [cpu] = last_others()?;
    let (gate, me) = (Gate::new(), percpu::cpu_id());
    let wait = || {
        let seen = gate.clone();
        let sleeper = kthread::spawn_on(cpu, "test-sleeper", move || {
            let ended = seen.waiters.wait_interruptible(|| seen.is_open());
            task::current().clear_pending(pending::SIGNAL);
            assert!(ended.is_ok(), "what it waits for is true");
        });
        expect_rest(&sleeper).map(|()| sleeper)
    };
    let (first, second) = (wait()?, wait()?);
    let target = first.clone();
    let disturber = actor_on(cpu, move || {
        script::wait_until_passed(1);
        target.notify(pending::SIGNAL);
    });
    let play = script::play(script! {
        me reaches Window::Picked.of(&first);
        cpu reaches Window::Awake.of(&first);
        me leaves Window::Picked.of(&first);
    });
    gate.unlatch();
    gate.waiters.wake_all();
    expect_end(&first, "a waiter that was interrupted in the waker's hands does not end")?;
    expect_end(&second, "the waiter behind one that was interrupted was not woken")?;
    disturber.wait_exit();
    play.complete()
}

/// A waiter finds its condition true after a wake-up for another reason, and has left the queue
/// when its wait returns: the next wake-up is for the next waiter.
pub(super) fn leaves_unpicked() -> Verdict {
    let [cpu] = last_others()?;
    let gate = Gate::new();
    let seen = gate.clone();
    let first = kthread::spawn_on(cpu, "test-first", move || {
        let passed = seen.waiters.wait_interruptible(|| seen.pass());
        task::current().clear_pending(pending::SIGNAL);
        assert!(passed.is_ok(), "what it waits for is true");
    });
    expect_rest(&first)?;
    gate.unlatch();
    first.notify(pending::SIGNAL);
    expect_end(&first, "a waiter that was interrupted does not end")?;
    check!(!gate.is_open(), "a wait ended well and did not find its condition");
    let seen = gate.clone();
    let second = kthread::spawn_on(cpu, "test-second", move || seen.waiters.wait_until(|| seen.pass()));
    expect_rest(&second)?;
    gate.open();
    expect_end(&second, "a wake-up went to a waiter that had left")?;
    Ok(())
}
