//! A mutex that changes hands.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicU32, Ordering};

use arch::percpu;
use kcore::cpu::CpuId;

use super::{ONE_CPU, TWO_CPUS, actor_on, another_cpu, expect_end, expect_rest, hold, once_held, two_others};
use crate::selftest::points::{self, Step};
use crate::selftest::{Outcome, Verdict, check_eq};
use crate::sync::Mutex;
use crate::task::{self, TaskRef, Window, kthread};

fn increment(mutex: &Mutex<u32>) {
    *mutex.lock() += 1;
}

fn waiter_on(cpu: CpuId, mutex: &Arc<Mutex<u32>>) -> Result<TaskRef, alloc::string::String> {
    let seen = mutex.clone();
    let waiter = kthread::spawn_on(cpu, "test-waiter", move || increment(&seen));
    expect_rest(&waiter)?;
    Ok(waiter)
}

/// The mutex is unlocked when its waiter has seen it locked and is not yet asleep.
pub(super) fn unlocked_before_it_sleeps() -> Verdict {
    let Some(cpu) = another_cpu() else { return ONE_CPU };
    let mutex = Arc::new(Mutex::new(0));
    let held = mutex.lock();
    let seen = mutex.clone();
    let waiter = actor_on(cpu, move || increment(&seen));
    let play = hold(cpu, Window::FallsAsleep.of(&waiter), percpu::cpu_id());
    once_held(|| drop(held));
    expect_end(&waiter, "an unlock before the sleep was lost")?;
    play.complete()?;
    Ok(Outcome::Pass)
}

/// A third takes the mutex after the unlock and before the wake-up: the waiter that was
/// woken for nothing sleeps again, and so does the one behind it, and both are woken by
/// the unlocks that follow.
pub(super) fn taken_before_the_wake() -> Verdict {
    let Some((cpu, third)) = two_others() else { return TWO_CPUS };
    let (me, this) = (percpu::cpu_id(), task::current_ref());
    let (mutex, order) = (Arc::new(Mutex::new(0)), Arc::new(AtomicU32::new(0)));
    let held = mutex.lock();
    let (first, second) = (waiter_on(cpu, &mutex)?, waiter_on(cpu, &mutex)?);
    let (seen, told) = (mutex.clone(), order.clone());
    let taker = actor_on(third, move || {
        points::wait_until_passed(1);
        let mut value = seen.lock();
        told.store(1, Ordering::Relaxed);
        points::mark();
        points::wait_until_passed(5);
        *value += 1;
    });
    let play = points::play(&[
        Step::reach(me, Window::Unlocked.of(&this)),
        Step::Mark(third),
        Step::leave(me, Window::Unlocked.of(&this)),
        Step::reach(cpu, Window::FallsAsleep.of(&first)),
        Step::leave(cpu, Window::FallsAsleep.of(&first)),
    ]);
    drop(held);
    for task in [&taker, &first, &second] {
        expect_end(task, "a mutex was unlocked and its waiter not woken")?;
    }
    play.complete()?;
    check_eq!((order.load(Ordering::Relaxed), *mutex.lock()), (1, 3), "holders of the mutex");
    Ok(Outcome::Pass)
}
