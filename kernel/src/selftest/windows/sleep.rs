//! Falling asleep, and being woken meanwhile.

use core::sync::atomic::{AtomicU32, Ordering};

use arch::percpu;
use kcore::cpu::CpuSet;

use super::{actor_on, hold, once_held, worker_of};
use crate::machine::lazy_tlb;
use crate::selftest::gate::{Gate, expect_end, spinner_on};
use crate::selftest::script::{self, script};
use crate::selftest::stage::{last_others, wait_for};
use crate::selftest::{Verdict, check};
use crate::task::{self, Window, work};

/// The wake-up comes when the sleeper has looked at its condition and is not yet asleep.
pub(super) fn woken_before_it_sleeps() -> Verdict {
    let [cpu] = last_others()?;
    let gate = Gate::new();
    let seen = gate.clone();
    let sleeper = actor_on(cpu, move || seen.wait());
    let play = hold(cpu, Window::FallsAsleep.of(&sleeper), percpu::cpu_id());
    once_held(|| gate.open());
    expect_end(&sleeper, "a wake-up before the sleep was lost")?;
    play.complete()
}

/// The wake-up comes when the sleeper's CPU is still on its stack: the waker waits.
pub(super) fn woken_on_its_stack() -> Verdict {
    let [cpu] = last_others()?;
    let (gate, me) = (Gate::new(), percpu::cpu_id());
    let seen = gate.clone();
    let sleeper = actor_on(cpu, move || seen.wait());
    let play = script::play(script! {
        cpu reaches Window::LeavesStack.of(&sleeper);
        me reaches Window::WaitsForStack.of(&sleeper);
        cpu leaves Window::LeavesStack.of(&sleeper);
    });
    script::wait_until_passed(1);
    gate.open();
    expect_end(&sleeper, "a task that was woken on its stack is lost")?;
    play.complete()
}

/// A runnable task is in the queue while its CPU is still on its stack: no thief takes it.
pub(super) fn stolen_on_its_stack() -> Verdict {
    let [cpu] = last_others()?;
    let (gate, me) = (Gate::new(), percpu::cpu_id());
    let task = actor_on(cpu, || script::wait_until_passed(3));
    task::set_affinity(&task, &CpuSet::first(lazy_tlb().nr_cpus())).map_err(|_| "no CPU")?;
    let play = script::play(script! {
        cpu reaches Window::LeavesStack.of(&task);
        me reaches Window::GoesIdle.of_idle();
        cpu leaves Window::LeavesStack.of(&task);
    });
    // The two take turns there, so each is in the queue at times.
    let busy = spinner_on(cpu, &gate);
    script::wait_until_passed(1);
    // This CPU has nothing to do but to look for something.
    task.wait_exit();
    gate.open();
    busy.wait_exit();
    play.complete()
}

/// Work comes when the worker has seen that there is none and is not yet asleep.
pub(super) fn worker_about_to_sleep() -> Verdict {
    static DONE: AtomicU32 = AtomicU32::new(0);
    let [cpu] = last_others()?;
    DONE.store(0, Ordering::Relaxed);
    let worker = worker_of(cpu)?;
    let play = hold(cpu, Window::FallsAsleep.of(&worker), percpu::cpu_id());
    work::queue_on(cpu, || ());
    once_held(|| work::queue_on(cpu, || _ = DONE.fetch_add(1, Ordering::Release)));
    let done = wait_for(|| DONE.load(Ordering::Acquire) == 1);
    drop(worker);
    check!(done, "work that came as its worker fell asleep is not done");
    play.complete()
}
