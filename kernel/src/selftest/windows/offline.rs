//! A task's CPU goes offline while the task sleeps there, or is woken to run there.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use arch::{percpu, timer};

use super::{actor_on, worker_of};
use crate::machine::lazy_tlb;
use crate::selftest::gate::{Gate, expect_end, expect_rest, sleeper_on};
use crate::selftest::hotplug::{bring_back, take_offline};
use crate::selftest::script::{self, script};
use crate::selftest::stage::{drain_borrows, in_us, last_others, wait_for};
use crate::selftest::{Verdict, check};
use crate::task::{self, Window, kthread};

/// The alarm of a sleeper whose CPU has gone rings on another CPU, and not before its time.
pub(super) fn sleeper_of_an_offline_cpu() -> Verdict {
    let [cpu] = last_others()?;
    let woke_tb = Arc::new(AtomicU64::new(0));
    let (told, deadline_tb) = (woke_tb.clone(), in_us(150_000));
    let sleeper = kthread::spawn_on(cpu, "test-sleeper", move || {
        task::sleep_until_tb(deadline_tb);
        told.store(timer::now_tb(), Ordering::Release);
    });
    expect_rest(&sleeper)?;
    take_offline(cpu)?;
    let ended = expect_end(&sleeper, "the alarm of a CPU that is offline does not ring");
    bring_back(cpu)?;
    ended?;
    check!(woke_tb.load(Ordering::Acquire) >= deadline_tb, "a sleep ended early");
    Ok(())
}

/// A sleeper of the last CPU is woken from another while that is still online; its waker
/// is held in `window` until the CPU has gone.
fn goes_while_woken(window: Window) -> Verdict {
    let [gone, cpu] = last_others()?;
    let (gate, was_offline) = (Gate::new(), Arc::new(AtomicBool::new(false)));
    let told = was_offline.clone();
    drain_borrows();
    let sleeper = sleeper_on(gone, &gate, move || {
        // A CPU that is about to go may look into its queue once more, and run the task itself.
        told.store(!lazy_tlb().online().contains(percpu::cpu_id()), Ordering::Release);
    })?;
    let (target, worker) = (sleeper.clone(), worker_of(gone)?);
    // Not through the wait queue, whose lock the sleeper needs while its waker is held.
    let waker = actor_on(cpu, move || {
        script::wait_until_passed(1);
        // Until the worker is parked, tasks may be placed there.
        assert!(wait_for(|| worker.is_at_rest()), "the parked worker of {gone} does not sleep");
        target.wake();
    });
    gate.unlatch();
    let (me, closes) = (percpu::cpu_id(), Window::ClosesCpu.of(&task::current()));
    let play = script::play(script! {
        me reaches closes;
        cpu reaches window.of(&sleeper);
        me leaves closes;
        me marks;
        cpu leaves window.of(&sleeper);
    });
    let went = take_offline(gone);
    script::mark();
    let ended = expect_end(&sleeper, "a task is lost whose CPU went as it was woken");
    waker.wait_exit();
    let offline = was_offline.load(Ordering::Acquire);
    bring_back(gone)?;
    went?;
    ended?;
    check!(!offline, "a task ran on a CPU that was offline");
    play.complete()
}

/// The CPU goes when it is chosen and before the task is in its queue.
pub(super) fn goes_while_placed() -> Verdict {
    goes_while_woken(Window::Placed)
}

/// The CPU goes when the task is in its queue and before it knows.
pub(super) fn goes_while_pushed() -> Verdict {
    goes_while_woken(Window::Pushed)
}
