//! A gate, and threads that wait for it.

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, Ordering};

use kcore::cpu::CpuId;

use super::stage::{wait_at_most, wait_for};
use crate::task::WaitQueue;
use crate::task::{TaskRef, kthread};

/// Fails unless `task` sleeps soon and its CPU has left it.
pub(super) fn expect_rest(task: &TaskRef) -> Result<(), String> {
    if wait_for(|| task.is_at_rest()) { Ok(()) } else { Err(format!("{} does not sleep", task.name())) }
}

/// Fails unless `task` ends soon; `what` names the failure. The limit is shorter than the
/// watchdog's ten seconds: its look may revive what was lost.
pub(super) fn expect_end(task: &TaskRef, what: &str) -> Result<(), String> {
    if wait_at_most(5, || task.has_exited()) {
        Ok(())
    } else {
        Err(format!("{what}: it is {}", task.state()))
    }
}

/// A condition to wait for.
pub(super) struct Gate {
    open: AtomicBool,
    pub(super) waiters: WaitQueue,
}

impl Gate {
    pub(super) fn new() -> Arc<Gate> {
        Arc::new(Gate { open: AtomicBool::new(false), waiters: WaitQueue::new() })
    }

    pub(super) fn is_open(&self) -> bool {
        self.open.load(Ordering::Acquire)
    }

    /// Closes it. Returns whether it was open.
    pub(super) fn pass(&self) -> bool {
        self.open.swap(false, Ordering::Acquire)
    }

    /// Opens it and wakes no waiter.
    pub(super) fn unlatch(&self) {
        self.open.store(true, Ordering::Release);
    }

    /// Opens it and wakes the first waiter.
    pub(super) fn open(&self) {
        self.unlatch();
        self.waiters.wake_one();
    }

    /// Sleeps until it is open.
    pub(super) fn wait(&self) {
        self.waiters.wait_until(|| self.is_open());
    }

    /// Spins until it is open: a thread that is always running or runnable.
    pub(super) fn spin(&self) {
        while !self.is_open() {
            core::hint::spin_loop();
        }
    }
}

/// A thread on `cpu` that sleeps at `gate`, and then runs `then`. Returns when it sleeps.
pub(super) fn sleeper_on(
    cpu: CpuId,
    gate: &Arc<Gate>,
    then: impl FnOnce() + Send + 'static,
) -> Result<TaskRef, String> {
    let gate = gate.clone();
    let sleeper = kthread::spawn_on(cpu, "test-sleeper", move || {
        gate.wait();
        then();
    });
    expect_rest(&sleeper)?;
    Ok(sleeper)
}

/// A thread on `cpu` that is running or runnable until `gate` is open.
pub(super) fn spinner_on(cpu: CpuId, gate: &Arc<Gate>) -> TaskRef {
    let gate = gate.clone();
    kthread::spawn_on(cpu, "test-spinner", move || gate.spin())
}
