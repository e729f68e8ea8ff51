//! A task that ends while it is being woken.

use alloc::sync::Arc;

use arch::percpu;

use super::{actor_on, hold, once_held};
use crate::selftest::gate::{Gate, expect_end, sleeper_on};
use crate::selftest::script::{self, script};
use crate::selftest::stage::{last_others, wait_for};
use crate::selftest::{Verdict, check};
use crate::task::{TaskRef, Window};

/// Fails unless the test has the only reference soon: the task's own was given back.
fn expect_only_ours(task: &TaskRef) -> Result<(), alloc::string::String> {
    let freed = wait_for(|| Arc::strong_count(task) == 1);
    check!(freed, "{} references to a task that has ended, one is ours", Arc::strong_count(task));
    Ok(())
}

/// The wake-up comes when the task is dead and its CPU still on its stack: it has no effect.
pub(super) fn woken_as_it_exits() -> Verdict {
    let [cpu] = last_others()?;
    let task = actor_on(cpu, || ());
    let play = hold(cpu, Window::Exits.of(&task), percpu::cpu_id());
    let woken = once_held(|| {
        task.notify(0);
        task.wake()
    });
    expect_end(&task, "a task that was woken as it exits does not end")?;
    expect_only_ours(&task)?;
    check!(!woken, "a task that has ended was woken");
    play.complete()
}

/// The task runs and ends before its waker has returned.
pub(super) fn exits_before_its_waker_goes_on() -> Verdict {
    let [cpu] = last_others()?;
    let (gate, me) = (Gate::new(), percpu::cpu_id());
    let sleeper = sleeper_on(cpu, &gate, || ())?;
    let play = script::play(script! {
        me reaches Window::Told.of(&sleeper);
        cpu reaches Window::Exits.of(&sleeper);
        me leaves Window::Told.of(&sleeper);
    });
    gate.unlatch();
    // Not through the wait queue, whose lock the sleeper needs to go on.
    let woken = sleeper.wake();
    expect_end(&sleeper, "a task that overtakes its waker does not end")?;
    expect_only_ours(&sleeper)?;
    check!(woken, "a task that slept was not woken");
    play.complete()
}
