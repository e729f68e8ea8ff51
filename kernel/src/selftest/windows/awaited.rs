//! A value that tasks wait for: it changes as one falls asleep, and for more than one.

use alloc::string::String;
use alloc::sync::Arc;

use arch::percpu;
use kcore::cpu::CpuId;

use super::{actor_on, hold, once_held};
use crate::selftest::Verdict;
use crate::selftest::gate::{expect_end, expect_rest};
use crate::selftest::stage::last_others;
use crate::task::{self, Awaited, Interrupted, Ready, TaskRef, Window, kthread, pending};

/// How many may be taken.
struct Number(u32);

impl Ready for Number {
    fn is_ready(&self) -> bool {
        self.0 > 0
    }
}

fn none() -> Arc<Awaited<Number>> {
    Arc::new(Awaited::new("a test's number", Number(0)))
}

/// Takes one, when there is one.
fn take(from: &Awaited<Number>) -> Result<(), Interrupted> {
    let mut number = from.lock();
    while number.0 == 0 {
        number = number.wait()?;
    }
    number.0 -= 1;
    Ok(())
}

/// A thread that waits for one.
fn taker_on(cpu: CpuId, from: &Arc<Awaited<Number>>) -> Result<TaskRef, String> {
    let from = from.clone();
    let taker = kthread::spawn_on(cpu, "test-taker", move || {
        if take(&from).is_err() {
            task::current().clear_pending(pending::SIGNAL);
        }
    });
    expect_rest(&taker).map(|()| taker)
}

/// The value changes when the waiter is queued and not yet asleep.
pub(super) fn changes_before_it_sleeps() -> Verdict {
    let [cpu] = last_others()?;
    let number = none();
    let from = number.clone();
    let taker = actor_on(cpu, move || _ = take(&from));
    let play = hold(cpu, Window::FallsAsleep.of(&taker), percpu::cpu_id());
    once_held(|| number.lock().0 += 1);
    expect_end(&taker, "a change before the sleep was lost")?;
    play.complete()
}

/// A waiter is interrupted. One change is for both of the others.
pub(super) fn one_change_for_two() -> Verdict {
    let [cpu] = last_others()?;
    let number = none();
    let [first, second, third] = [taker_on(cpu, &number)?, taker_on(cpu, &number)?, taker_on(cpu, &number)?];
    second.notify(pending::SIGNAL);
    expect_end(&second, "an interrupted waiter sleeps on")?;
    number.lock().0 += 2;
    expect_end(&first, "the first waiter was not woken")?;
    expect_end(&third, "the wake-up was not passed on")?;
    Ok(())
}
