//! Waiters for a futex that a waker or a requeue takes out while they do something else.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicUsize, Ordering};

use arch::percpu;
use kcore::cpu::CpuId;

use super::{actor_on, hold, once_held};
use crate::selftest::gate::{expect_end, expect_rest};
use crate::selftest::script::{self, script};
use crate::selftest::stage::last_others;
use crate::selftest::{Verdict, check, check_eq};
use crate::syscall::futex_waiters::{self, ALL_BITS, End, Key};
use crate::task::{self, TaskRef, Window, kthread, pending};

/// No address space and no object has this number.
const HERE: Key = Key(u64::MAX, 0);
const THERE: Key = Key(u64::MAX, 4);

fn wait_here() -> Option<End> {
    futex_waiters::wait(HERE, ALL_BITS, None, || Ok(())).ok()
}

fn wake(key: Key) -> usize {
    futex_waiters::wake(key, usize::MAX, ALL_BITS)
}

fn sleeper_on(cpu: CpuId) -> Result<TaskRef, alloc::string::String> {
    let sleeper = kthread::spawn_on(cpu, "test-sleeper", || {
        assert_eq!(wait_here(), Some(End::Woken), "how a wait ended that was not disturbed");
    });
    expect_rest(&sleeper).map(|()| sleeper)
}

/// The wake-up comes when the waiter is in its bucket and not yet asleep.
pub(super) fn woken_before_it_sleeps() -> Verdict {
    let [cpu] = last_others()?;
    let sleeper = actor_on(cpu, || {
        assert_eq!(wait_here(), Some(End::Woken), "how a wait ended that was not disturbed");
    });
    let play = hold(cpu, Window::FallsAsleep.of(&sleeper), percpu::cpu_id());
    let woken = once_held(|| wake(HERE));
    check_eq!(woken, 1, "waiters that were woken");
    expect_end(&sleeper, "a wake-up before the sleep was lost")?;
    play.complete()
}

/// A waiter that was woken for something else looks for its bucket while a waker has taken it
/// out: the waker tells it, and it sees that before it sleeps again.
pub(super) fn told_as_it_looks() -> Verdict {
    let [cpu] = last_others()?;
    let me = percpu::cpu_id();
    let sleeper = sleeper_on(cpu)?;
    let play = script::play(script! {
        cpu reaches Window::Awake.of(&sleeper);
        me reaches Window::Picked.of(&sleeper);
        cpu leaves Window::Awake.of(&sleeper);
        cpu reaches Window::FindsBucket.of(&sleeper);
        me leaves Window::Picked.of(&sleeper);
    });
    sleeper.wake();
    script::wait_until_passed(1);
    check_eq!(wake(HERE), 1, "waiters that were woken");
    expect_end(&sleeper, "a waiter that was told as it looked for its bucket sleeps on")?;
    play.complete()
}

/// A requeue moves a waiter that gives up, when it knows its bucket and has not the lock.
pub(super) fn moved_as_it_gives_up() -> Verdict {
    let [cpu] = last_others()?;
    check!(HERE.bucket() != THERE.bucket(), "two keys have one bucket");
    let sleeper = actor_on(cpu, || {
        task::current().notify(pending::SIGNAL);
        let end = wait_here();
        task::current().clear_pending(pending::SIGNAL);
        assert_eq!(end, Some(End::Interrupted), "how a wait ended that was interrupted");
    });
    let play = hold(cpu, Window::FindsBucket.of(&sleeper), percpu::cpu_id());
    let moved = once_held(|| futex_waiters::requeue([HERE, THERE], [0, 9], || Ok(())));
    check_eq!(moved.ok(), Some(1), "waiters that were moved");
    expect_end(&sleeper, "a waiter that was moved does not end")?;
    check_eq!(wake(HERE) + wake(THERE), 0, "waiters left behind");
    play.complete()
}

/// Wake-ups take those first who came first, as many as they may.
pub(super) fn wakes_in_order() -> Verdict {
    let [cpu] = last_others()?;
    let ended = Arc::new(AtomicUsize::new(0));
    let mut sleepers = Vec::new();
    for number in 0..4 {
        let ended = ended.clone();
        let sleeper = kthread::spawn_on(cpu, "test-sleeper", move || {
            assert_eq!(wait_here(), Some(End::Woken), "how a wait ended that was not disturbed");
            assert_eq!(ended.fetch_add(1, Ordering::AcqRel), number, "waiters that ended before");
        });
        expect_rest(&sleeper)?;
        sleepers.push(sleeper);
    }
    let woken = futex_waiters::wake(HERE, 3, ALL_BITS);
    for sleeper in &sleepers[..3] {
        expect_end(sleeper, "a waiter that was woken does not run")?;
    }
    let left = expect_rest(&sleepers[3]);
    let last = wake(HERE);
    expect_end(&sleepers[3], "the last waiter does not end")?;
    left?;
    check_eq!((woken, last), (3, 1), "waiters that were woken");
    Ok(())
}

/// A waiter has run and ended before its waker goes on, which then has the last reference but
/// the test's own.
pub(super) fn exits_before_its_waker_goes_on() -> Verdict {
    let [cpu] = last_others()?;
    let me = percpu::cpu_id();
    let sleeper = sleeper_on(cpu)?;
    let play = script::play(script! {
        me reaches Window::Told.of(&sleeper);
        cpu reaches Window::Exits.of(&sleeper);
        me leaves Window::Told.of(&sleeper);
    });
    let woken = wake(HERE);
    expect_end(&sleeper, "a waiter that overtakes its waker does not end")?;
    check_eq!(woken, 1, "waiters that were woken");
    play.complete()
}
