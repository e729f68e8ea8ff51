//! An idle CPU whose queue fills after its look.

use arch::percpu;

use super::{actor_on, hold, once_held};
use crate::selftest::Verdict;
use crate::selftest::gate::{Gate, expect_end, sleeper_on};
use crate::selftest::script::{self, script};
use crate::selftest::stage::last_others;
use crate::task::{self, Window, kthread};

/// A task comes between the idle CPU's last look at its queue and its cede.
pub(super) fn queue_fills_before_the_cede() -> Verdict {
    let [cpu] = last_others()?;
    // An earlier slice may still be timed, and its end would find the task; but only once.
    for _ in 0..4 {
        // The CPU goes idle when this one ends.
        let first = actor_on(cpu, || ());
        let play = hold(cpu, Window::Cedes.of_idle(), percpu::cpu_id());
        let second = once_held(|| kthread::spawn_on(cpu, "test-second", || ()));
        expect_end(&first, "the first task of an idle CPU does not run")?;
        expect_end(&second, "a task that came before the cede does not run")?;
        play.complete()?;
    }
    Ok(())
}

/// A task comes when the CPU has looked at its queue and does not count as idle yet. Its waker sees
/// a slice that is still timed, and sends no interrupt: the CPU looks again before it cedes.
pub(super) fn queue_fills_as_it_goes_idle() -> Verdict {
    let [cpu] = last_others()?;
    let (gate, me, idles) = (Gate::new(), percpu::cpu_id(), Window::GoesIdle.of_idle());
    let sleeper = sleeper_on(cpu, &gate, script::mark)?;
    // The queued task waits while `last` does not yield, so the slice of `last` is timed.
    let last = actor_on(cpu, move || {
        let queued = kthread::spawn_on(cpu, "test-queued", || ());
        while !queued.has_exited() {
            task::yield_now();
        }
    });
    let play = script::play(script! {
        cpu reaches idles;
        me marks;
        cpu leaves idles;
        cpu marks;
        cpu reaches Window::Cedes.of_idle();
    });
    once_held(|| gate.open());
    expect_end(&last, "the last task of a CPU does not end")?;
    expect_end(&sleeper, "a task that came as its CPU went idle does not run")?;
    // The CPU cedes at last.
    script::wait_until_passed(5);
    play.complete()
}
