//! Slices that end and alarms that ring while another CPU acts on them.

use arch::percpu;

use super::actor_on;
use crate::selftest::Verdict;
use crate::selftest::gate::{Gate, expect_end, expect_rest, sleeper_on};
use crate::selftest::hotplug::{bring_back, start_removal};
use crate::selftest::script::{self, script};
use crate::selftest::stage::{in_us, last_others, move_task};
use crate::task::{self, Window, kthread};

/// A task comes when the timer has interrupted the only task of its CPU. Its waker sees a slice
/// that is still timed, and sends no interrupt: the timer's handler looks again.
pub(super) fn queue_fills_as_a_slice_ends() -> Verdict {
    let [cpu] = last_others()?;
    let (gate, start, stop) = (Gate::new(), Gate::new(), Gate::new());
    let (me, seen) = (percpu::cpu_id(), stop.clone());
    let sleeper = sleeper_on(cpu, &gate, || ())?;
    let spinner = sleeper_on(cpu, &start, move || seen.spin())?;
    let guest = actor_on(cpu, || script::wait_until_passed(3));
    let (leaves, ends) = (Window::LeavesStack.of(&guest), Window::SliceEnds.of(&spinner));
    let play = script::play(script! {
        // The guest is queued, so the spinner's slice is timed; then the guest goes.
        cpu reaches leaves;
        me reaches Window::WaitsForStack.of(&guest);
        cpu leaves leaves;
        cpu reaches ends;
        me marks;
        cpu leaves ends;
    });
    start.open();
    script::wait_until_passed(1);
    move_task(&guest, me);
    script::wait_until_passed(4);
    gate.open();
    script::mark();
    let ended = expect_end(&sleeper, "a task that came as a slice ended does not run");
    stop.open();
    spinner.wait_exit();
    guest.wait_exit();
    ended?;
    play.complete()
}

/// A task stops its alarm while another CPU rings it: the alarm behind it rings, too.
pub(super) fn rings_when_stopped() -> Verdict {
    let [cpu] = last_others()?;
    let (gate, me) = (Gate::new(), percpu::cpu_id());
    let seen = gate.clone();
    let sleeper =
        actor_on(cpu, move || _ = seen.waiters.wait_until_deadline(|| seen.is_open(), in_us(20_000)));
    let play = script::play(script! {
        cpu reaches Window::Rings.of(&sleeper);
        me reaches Window::StopsAlarm.of(&sleeper);
        cpu leaves Window::Rings.of(&sleeper);
    });
    let behind = kthread::spawn_on(cpu, "test-behind", || task::sleep_until_tb(in_us(60_000)));
    script::wait_until_passed(1);
    move_task(&sleeper, me);
    gate.open();
    expect_end(&sleeper, "a task that stops its alarm as it rings does not end")?;
    expect_end(&behind, "the alarm behind one that was stopped does not ring")?;
    play.complete()
}

/// A task stops its alarm while that is on its way from a CPU that has gone offline.
pub(super) fn moves_when_stopped() -> Verdict {
    let [gone, cpu] = last_others()?;
    let (gate, me) = (Gate::new(), percpu::cpu_id());
    let far_tb = in_us(20_000_000);
    let seen = gate.clone();
    let sleeper = kthread::spawn_on(gone, "test-sleeper", move || {
        let opened = seen.waiters.wait_until_deadline(|| seen.is_open(), far_tb);
        assert!(opened, "its deadline is far");
    });
    expect_rest(&sleeper)?;
    move_task(&sleeper, cpu);
    let seen = gate.clone();
    let waker = actor_on(cpu, move || {
        script::wait_until_passed(1);
        seen.open();
    });
    let play = script::play(script! {
        me reaches Window::AlarmMoves.of(&sleeper);
        cpu reaches Window::StopsAlarm.of(&sleeper);
        me leaves Window::AlarmMoves.of(&sleeper);
    });
    let remover = start_removal(gone);
    let ended = expect_end(&sleeper, "a task that stops its alarm as it moves does not end");
    remover.wait_exit();
    waker.wait_exit();
    bring_back(gone)?;
    ended?;
    play.complete()
}
