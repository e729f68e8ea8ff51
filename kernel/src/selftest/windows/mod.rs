//! The hand-offs of the scheduler and of sleeping, each forced in its window.
//!
//! A test holds a task in a window ([`Window`]) until another CPU has done what it does
//! there once in a million times, and asks for what a wrong hand-off would spoil. The
//! table of hand-offs, windows and tests is in docs/testing.md.

mod affinity;
mod exit;
mod idle;
mod lookup;
mod mutex;
mod offline;
mod queue;
mod sleep;
mod timer;

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use kcore::cpu::CpuId;

use super::points::{self, Play, Step};
use super::stage::{flush_work, other_cpus, wait_at_most, wait_for};
use super::{Outcome, Test, Verdict};
use crate::sync::WaitQueue;
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

const ONE_CPU: Verdict = Ok(Outcome::Skip("one CPU"));
const TWO_CPUS: Verdict = Ok(Outcome::Skip("fewer than three CPUs"));

/// A CPU besides that of the test. The last: on the first others the housekeepers wake from
/// time to time, and what was lost would come with them.
fn another_cpu() -> Option<CpuId> {
    other_cpus().last().copied()
}

/// Two CPUs besides that of the test.
fn two_others() -> Option<(CpuId, CpuId)> {
    match other_cpus()[..] {
        [.., first, second] => Some((first, second)),
        _ => None,
    }
}

/// Runs `f` on `cpu` as soon as a script is played. Until then the thread spins, so it
/// passes no window.
fn actor_on(cpu: CpuId, f: impl FnOnce() + Send + 'static) -> TaskRef {
    kthread::spawn_on(cpu, "test-actor", move || {
        points::wait_until_played();
        f();
    })
}

/// The script in which `task` is held in a window on `cpu` until this thread has made
/// its mark.
fn hold(cpu: CpuId, place: points::Place, me: CpuId) -> Play {
    points::play(&[Step::reach(cpu, place), Step::Mark(me), Step::leave(cpu, place)])
}

/// Does `f` while the other CPU is held.
fn once_held<R>(f: impl FnOnce() -> R) -> R {
    points::wait_until_passed(1);
    let result = f();
    points::mark();
    result
}

/// Fails unless `task` sleeps soon and its CPU has left it.
fn expect_rest(task: &TaskRef) -> Result<(), String> {
    if wait_for(|| task.is_at_rest()) { Ok(()) } else { Err(format!("{} does not sleep", task.name())) }
}

/// Fails unless `task` ends soon; `what` happened to it else. Sooner than a watchdog looks,
/// after ten seconds, which may find what was lost.
fn expect_end(task: &TaskRef, what: &str) -> Result<(), String> {
    if wait_at_most(5, || task.has_exited()) {
        Ok(())
    } else {
        Err(format!("{what}: it is {}", task.state()))
    }
}

/// Something to wait for.
struct Gate {
    open: AtomicBool,
    waiters: WaitQueue,
}

impl Gate {
    fn new() -> Arc<Gate> {
        Arc::new(Gate { open: AtomicBool::new(false), waiters: WaitQueue::new() })
    }

    fn is_open(&self) -> bool {
        self.open.load(Ordering::Acquire)
    }

    /// Takes what one [`Gate::open`] has given; whether there was any.
    fn pass(&self) -> bool {
        self.open.swap(false, Ordering::Acquire)
    }

    /// Opens it and tells nobody.
    fn unlatch(&self) {
        self.open.store(true, Ordering::Release);
    }

    /// Opens it and wakes the first who waits.
    fn open(&self) {
        self.unlatch();
        self.waiters.wake_one();
    }

    /// Sleeps until it is open.
    fn wait(&self) {
        self.waiters.wait_until(|| self.is_open());
    }

    /// Spins until it is open: a thread that is always running or runnable.
    fn spin(&self) {
        while !self.is_open() {
            core::hint::spin_loop();
        }
    }
}

/// A thread on `cpu` that sleeps at `gate`, and does.
fn sleeper_on(cpu: CpuId, gate: &Arc<Gate>, then: impl FnOnce() + Send + 'static) -> Result<TaskRef, String> {
    let gate = gate.clone();
    let sleeper = kthread::spawn_on(cpu, "test-sleeper", move || {
        gate.wait();
        then();
    });
    expect_rest(&sleeper)?;
    Ok(sleeper)
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

/// A thread on `cpu` that is running or runnable until `gate` is open.
fn spinner_on(cpu: CpuId, gate: &Arc<Gate>) -> TaskRef {
    let gate = gate.clone();
    kthread::spawn_on(cpu, "test-spinner", move || gate.spin())
}
