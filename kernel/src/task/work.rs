//! Deferred work: closures that a kernel thread of this CPU runs, in order, from a context that may
//! sleep.
//!
//! The worker of an offline CPU is parked, and its work goes to the boot CPU's worker:
//!
//! ```text
//! giver                                  park
//! push                                   state = CLOSED
//! full barrier                           full barrier
//! closed? pass all on                    wait until the worker has run all
//! ```

use alloc::boxed::Box;
use core::ptr;
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, Ordering, fence};

use kcore::cpu::{CpuId, CpuSet};

use super::{WaitQueue, cpu, kthread, set_affinity};
use crate::sync::preempt;

/// One piece of work, linked to the one that was pushed before it.
struct Work {
    run: Box<dyn FnOnce() + Send>,
    next: *mut Work,
}

/// One CPU's work: a stack that anyone pushes on and that its worker empties.
pub(super) struct Works {
    newest: AtomicPtr<Work>,
    worker: WaitQueue,
    /// Whether it takes work.
    state: AtomicU32,
    /// The tasks that wait for a change of the state.
    gate: WaitQueue,
    has_worker: AtomicBool,
}

/// Work is for this CPU.
const OPEN: u32 = 0;
/// The CPU goes offline: the worker finishes what there is, other work is passed on.
const CLOSED: u32 = 1;
/// The worker has finished and stands still, or there was none yet.
const PARKED: u32 = 2;

impl Works {
    pub(super) fn new() -> Self {
        Self {
            newest: AtomicPtr::new(ptr::null_mut()),
            worker: WaitQueue::new(),
            state: AtomicU32::new(PARKED),
            gate: WaitQueue::new(),
            has_worker: AtomicBool::new(false),
        }
    }

    /// Takes work, or passes it on if it is not for this CPU.
    fn give(&self, run: Box<dyn FnOnce() + Send>) {
        self.push(run);
        // F31 fence: orders the push before the look at the state. Partner: `park`.
        fence(Ordering::SeqCst);
        if self.is_closed() {
            self.pass_on();
        }
    }

    fn push(&self, run: Box<dyn FnOnce() + Send>) {
        let work = Box::into_raw(Box::new(Work { run, next: ptr::null_mut() }));
        let mut newest = self.newest.load(Ordering::Relaxed);
        loop {
            // SAFETY: it is ours until it is pushed.
            unsafe { (*work).next = newest };
            // F36 release: orders the work before the pointer to it. Partner: `take_all`.
            match self.newest.compare_exchange(newest, work, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => break,
                Err(now) => newest = now,
            }
        }
        self.worker.wake_one();
    }

    /// Runs all there is, oldest first.
    fn run_all(&self) {
        self.take_all(|run| run());
    }

    /// Gives all there is to the boot CPU, in its order. Any context.
    pub(super) fn pass_on(&self) {
        self.take_all(|run| cpu::get(CpuId::BOOT).works.push(run));
    }

    fn take_all(&self, mut f: impl FnMut(Box<dyn FnOnce() + Send>)) {
        // F36 acquire: orders the pointer before the reads of the work. Partner: `push`.
        let mut newest = self.newest.swap(ptr::null_mut(), Ordering::Acquire);
        let mut oldest: *mut Work = ptr::null_mut();
        while !newest.is_null() {
            // SAFETY: all of the list is ours: the swap took it off the shared stack.
            let next = unsafe { core::mem::replace(&mut (*newest).next, oldest) };
            (oldest, newest) = (newest, next);
        }
        while !oldest.is_null() {
            // SAFETY: it came from `Box::into_raw` in `push`. Freed before it runs: a test that the
            // work wakes must find the heap balanced.
            let Work { run, next } = *unsafe { Box::from_raw(oldest) };
            oldest = next;
            f(run);
        }
    }

    fn is_empty(&self) -> bool {
        self.newest.load(Ordering::Relaxed).is_null()
    }

    fn is_closed(&self) -> bool {
        self.state.load(Ordering::Relaxed) != OPEN
    }

    fn is_parked(&self) -> bool {
        // F37 acquire: orders PARKED before our reads of what the work did. Partner: `work`.
        self.state.load(Ordering::Acquire) == PARKED
    }

    /// Has the worker finish its work and stand still; work queued from now on goes elsewhere.
    /// Returns whether it stood still before `deadline_tb`; if not, it takes work again. Interrupts
    /// and preemption on.
    pub(super) fn park(&self, deadline_tb: u64) -> bool {
        self.state.store(CLOSED, Ordering::Relaxed);
        // F31 fence: orders CLOSED before the worker's look for work. Partner: `give`.
        fence(Ordering::SeqCst);
        self.worker.wake_all();
        let parked = self.gate.wait_until_deadline(|| self.is_parked(), deadline_tb);
        if !parked {
            self.admit();
        }
        parked
    }

    fn admit(&self) {
        self.state.store(OPEN, Ordering::Relaxed);
        self.gate.wake_all();
    }

    /// Takes work again, from a CPU that is online: starts the worker of `cpu`, whose work this is,
    /// or lets the parked one go on.
    pub(super) fn open(&'static self, cpu: CpuId) {
        self.admit();
        if !self.has_worker.swap(true, Ordering::Relaxed) {
            kthread::spawn_on(cpu, "worker", move || self.work(cpu));
        }
    }

    /// The worker.
    fn work(&self, cpu: CpuId) {
        loop {
            self.worker.wait_until(|| !self.is_empty() || self.is_closed());
            self.run_all();
            // F37 release: orders what the work did before PARKED. Partner: `is_parked`.
            if self.state.compare_exchange(CLOSED, PARKED, Ordering::Release, Ordering::Relaxed).is_ok() {
                self.gate.wake_all();
                self.gate.wait_until(|| !self.is_parked());
                // On the way to its sleep it may have been moved off the CPU with all other tasks.
                // This cannot fail: the CPU goes offline only when we are parked again.
                let _ = set_affinity(&super::current_ref(), &CpuSet::only(cpu));
            }
        }
    }
}

/// Has this CPU's worker run `f`. Allocates; any context.
pub(crate) fn queue(f: impl FnOnce() + Send + 'static) {
    let _here = preempt::disable();
    cpu::this().works.give(Box::new(f));
}

/// Has the worker of `cpu` run `f`, or the boot CPU's if that one is offline. Allocates;
/// any context.
#[cfg(feature = "selftest")]
pub(crate) fn queue_on(cpu: CpuId, f: impl FnOnce() + Send + 'static) {
    cpu::get(cpu).works.give(Box::new(f));
}
