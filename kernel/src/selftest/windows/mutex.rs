//! A mutex that changes hands.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicU32, Ordering};

use arch::percpu;
use kcore::cpu::CpuId;

use super::{actor_on, hold, once_held};
use crate::selftest::gate::{expect_end, expect_rest};
use crate::selftest::script::{self, script};
use crate::selftest::stage::last_others;
use crate::selftest::{Verdict, check_eq};
use crate::task::Mutex;
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
    let [cpu] = last_others()?;
    let mutex = Arc::new(Mutex::new(0));
    let held = mutex.lock();
    let seen = mutex.clone();
    let waiter = actor_on(cpu, move || increment(&seen));
    let play = hold(cpu, Window::FallsAsleep.of(&waiter), percpu::cpu_id());
    once_held(|| drop(held));
    expect_end(&waiter, "an unlock before the sleep was lost")?;
    play.complete()
}

/// A third task takes the mutex after the unlock and before the wake-up. The waiter that was woken
/// in vain sleeps again, and so does the one behind it. The following unlocks wake both.
pub(super) fn taken_before_the_wake() -> Verdict {
    let [third, cpu] = last_others()?;
    let (me, this) = (percpu::cpu_id(), task::current_ref());
    let (mutex, order) = (Arc::new(Mutex::new(0)), Arc::new(AtomicU32::new(0)));
    let held = mutex.lock();
    let (first, second) = (waiter_on(cpu, &mutex)?, waiter_on(cpu, &mutex)?);
    let (seen, told) = (mutex.clone(), order.clone());
    let taker = actor_on(third, move || {
        script::wait_until_passed(1);
        let mut value = seen.lock();
        told.store(1, Ordering::Relaxed);
        script::mark();
        script::wait_until_passed(5);
        *value += 1;
    });
    let play = script::play(script! {
        me reaches Window::Unlocked.of(&this);
        third marks;
        me leaves Window::Unlocked.of(&this);
        cpu reaches Window::FallsAsleep.of(&first);
        cpu leaves Window::FallsAsleep.of(&first);
    });
    drop(held);
    for task in [&taker, &first, &second] {
        expect_end(task, "a mutex was unlocked and its waiter not woken")?;
    }
    play.complete()?;
    check_eq!((order.load(Ordering::Relaxed), *mutex.lock()), (1, 3), "holders of the mutex");
    Ok(())
}
