//! The hand-offs of the scheduler and of sleeping, each forced in its window.
//!
//! A test holds a task in a window (`Window`) until another CPU has acted in a way that is rare
//! there, and checks what a wrong hand-off would spoil. The table of hand-offs, windows and tests
//! is in docs/testing.md.

mod affinity;
mod awaited;
mod exit;
mod futex;
mod idle;
mod lookup;
mod mutex;
mod offline;
mod queue;
mod sleep;
mod timer;

use alloc::string::String;
use core::sync::atomic::{AtomicU32, Ordering};

use kcore::cpu::CpuId;

use super::Test;
use super::gate::expect_rest;
use super::points::Place;
use super::script::{self, Play, script};
use super::stage::flush_work;
use crate::task::{self, TaskRef, kthread, registry, work};

pub(super) const TESTS: &[Test] = &[
    Test::new("window_woken_before_it_sleeps", sleep::woken_before_it_sleeps),
    Test::new("window_woken_on_its_stack", sleep::woken_on_its_stack),
    Test::new("window_worker_about_to_sleep", sleep::worker_about_to_sleep),
    Test::new("window_stolen_on_its_stack", sleep::stolen_on_its_stack),
    Test::new("window_interrupted_when_woken", queue::interrupted_when_woken),
    Test::new("window_late_when_woken", queue::late_when_woken),
    Test::new("window_awake_while_the_waker_walks", queue::awake_while_the_waker_walks),
    Test::new("window_leaves_unpicked", queue::leaves_unpicked),
    Test::new("window_awaited_changes_before_it_sleeps", awaited::changes_before_it_sleeps),
    Test::new("window_awaited_one_change_for_two", awaited::one_change_for_two),
    Test::new("window_futex_woken_before_it_sleeps", futex::woken_before_it_sleeps),
    Test::new("window_futex_told_as_it_looks", futex::told_as_it_looks),
    Test::new("window_futex_moved_as_it_gives_up", futex::moved_as_it_gives_up),
    Test::new("window_futex_wakes_in_order", futex::wakes_in_order),
    Test::new("window_futex_exits_before_its_waker_goes_on", futex::exits_before_its_waker_goes_on),
    Test::new("window_unlocked_before_it_sleeps", mutex::unlocked_before_it_sleeps),
    Test::new("window_mutex_taken_before_the_wake", mutex::taken_before_the_wake),
    Test::new("window_affinity_while_queued", affinity::changes_while_queued),
    Test::new("window_affinity_while_chosen", affinity::changes_while_chosen),
    Test::new("window_affinity_while_woken", affinity::changes_while_woken),
    Test::new("window_affinity_while_evicted", affinity::changes_while_evicted),
    Test::new("window_affinity_while_stolen", affinity::changes_while_stolen),
    Test::new("window_affinity_with_preemption_off", affinity::changes_with_preemption_off),
    Test::new("window_moves_when_notified", affinity::moves_when_notified),
    Test::new("window_queue_fills_before_the_cede", idle::queue_fills_before_the_cede),
    Test::new("window_queue_fills_as_it_goes_idle", idle::queue_fills_as_it_goes_idle),
    Test::new("window_queue_fills_as_a_slice_ends", timer::queue_fills_as_a_slice_ends),
    Test::new("window_alarm_rings_when_stopped", timer::rings_when_stopped),
    Test::new("window_alarm_moves_when_stopped", timer::moves_when_stopped),
    Test::new("window_sleeper_of_an_offline_cpu", offline::sleeper_of_an_offline_cpu),
    Test::new("window_offline_while_placed", offline::goes_while_placed),
    Test::new("window_offline_while_pushed", offline::goes_while_pushed),
    Test::new("window_woken_as_it_exits", exit::woken_as_it_exits),
    Test::new("window_exits_before_its_waker_goes_on", exit::exits_before_its_waker_goes_on),
    Test::new("window_closed_while_looked_up", lookup::closed_while_looked_up),
];

/// Runs `f` on `cpu` as soon as a script is played. Until then the thread spins, so it
/// passes no window.
fn actor_on(cpu: CpuId, f: impl FnOnce() + Send + 'static) -> TaskRef {
    kthread::spawn_on(cpu, "test-actor", move || {
        script::wait_until_played();
        f();
    })
}

/// The script in which `task` is held in a window on `cpu` until this thread has made its mark.
fn hold(cpu: CpuId, place: Place, me: CpuId) -> Play {
    script::play(script! {
        cpu reaches place;
        me marks;
        cpu leaves place;
    })
}

/// Runs `f` while the other CPU is held.
fn once_held<R>(f: impl FnOnce() -> R) -> R {
    script::wait_until_passed(1);
    let result = f();
    script::mark();
    result
}

/// The worker of `cpu`, which sleeps.
fn worker_of(cpu: CpuId) -> Result<TaskRef, String> {
    static WORKER: AtomicU32 = AtomicU32::new(0);
    work::queue_on(cpu, || WORKER.store(task::current().tid(), Ordering::Relaxed));
    flush_work();
    let worker = registry::find(WORKER.load(Ordering::Relaxed)).ok_or("a worker has exited")?;
    expect_rest(&worker)?;
    Ok(worker)
}
