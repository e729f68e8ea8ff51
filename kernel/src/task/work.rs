//! Work for later: closures that a kernel thread of this CPU runs, in order, from
//! a context that may sleep.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::ptr;
use core::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

use kcore::cpu::{CpuId, CpuSet};

use super::{cpu, kthread, online_cpus, preempt};
use crate::sync::WaitQueue;

/// One piece of work, in the list of those that came after it.
struct Work {
    run: Box<dyn FnOnce() + Send>,
    next: *mut Work,
}

/// One CPU's work: a stack that anyone pushes on and that its worker empties.
pub(super) struct Works {
    newest: AtomicPtr<Work>,
    worker: WaitQueue,
}

impl Works {
    pub(super) fn new() -> Self {
        Self { newest: AtomicPtr::new(ptr::null_mut()), worker: WaitQueue::new() }
    }

    fn push(&self, run: Box<dyn FnOnce() + Send>) {
        let work = Box::into_raw(Box::new(Work { run, next: ptr::null_mut() }));
        let mut newest = self.newest.load(Ordering::Relaxed);
        loop {
            // SAFETY: it is ours until it is pushed.
            unsafe { (*work).next = newest };
            // Release: the work before the pointer to it. Partner: the acquire in
            // `take_all`.
            match self.newest.compare_exchange(newest, work, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => break,
                Err(now) => newest = now,
            }
        }
        self.worker.wake_one();
    }

    fn run_all(&self) {
        // Acquire: see `push`.
        let mut newest = self.newest.swap(ptr::null_mut(), Ordering::Acquire);
        let mut oldest: *mut Work = ptr::null_mut();
        while !newest.is_null() {
            // SAFETY: all of the list is ours: the swap took it from everyone else.
            let next = unsafe { core::mem::replace(&mut (*newest).next, oldest) };
            (oldest, newest) = (newest, next);
        }
        while !oldest.is_null() {
            // SAFETY: it came from `Box::into_raw` in `push`.
            let work = unsafe { Box::from_raw(oldest) };
            oldest = work.next;
            (work.run)();
        }
    }

    fn is_empty(&self) -> bool {
        self.newest.load(Ordering::Relaxed).is_null()
    }
}

/// Has this CPU's worker run `f`. Allocates; any context.
pub(crate) fn queue(f: impl FnOnce() + Send + 'static) {
    let _here = preempt::disable();
    cpu::this().works.push(Box::new(f));
}

/// Has the worker of `cpu` run `f`. Allocates; any context.
pub(crate) fn queue_on(cpu: CpuId, f: impl FnOnce() + Send + 'static) {
    cpu::get(cpu).works.push(Box::new(f));
}

/// Sleeps until all work that was queued before, on any CPU, is done. Interrupts
/// and preemption on.
pub(crate) fn flush() {
    let done = Arc::new(Flush { left: AtomicU32::new(0), waiter: WaitQueue::new() });
    let online: CpuSet = online_cpus();
    done.left.store(online.len() as u32, Ordering::Relaxed);
    for cpu in online.iter() {
        let done = done.clone();
        queue_on(cpu, move || {
            // Release: the work before. Partner: the acquire below.
            if done.left.fetch_sub(1, Ordering::Release) == 1 {
                done.waiter.wake_one();
            }
        });
    }
    done.waiter.wait_until(|| done.left.load(Ordering::Acquire) == 0);
}

/// The workers that a [`flush`] waits for.
struct Flush {
    left: AtomicU32,
    waiter: WaitQueue,
}

/// Starts the worker of `cpu`, once, when it is online.
pub(super) fn start_worker(cpu: CpuId) {
    let works = &cpu::get(cpu).works;
    kthread::spawn_on(cpu, "worker", move || {
        loop {
            works.worker.wait_until(|| !works.is_empty());
            works.run_all();
        }
    });
}
