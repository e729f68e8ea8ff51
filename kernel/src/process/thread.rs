//! The user half of a task.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use arch::context::fpu::VectorState;
use arch::context::ungated::Ungated;
use arch::exceptions::TrapFrame;
use arch::reg::Msr;

use super::event::Event;
use super::scheduling::Scheduling;
use super::signal::{Queue, StackCell};
use super::{Own, Process};
use crate::errno::Errno;
use crate::memory::heap;
use crate::sync::preempt;

/// A thread.
pub(crate) struct Thread {
    /// Its number, which exec may change.
    tid: AtomicU32,
    /// Its process.
    pub(crate) process: Arc<Process>,
    /// Where to store 0 and wake a futex when it ends, or 0.
    pub(crate) clear_child_tid: AtomicU64,
    /// Head of the list of robust futexes, or 0.
    pub(crate) robust_list: AtomicU64,
    /// Blocked signals. Written by the thread itself.
    pub(crate) blocked: AtomicU64,
    /// The blocked signals that it waits for (sigtimedwait), and is notified of although they are
    /// blocked. Written by the thread itself.
    pub(crate) awaited: AtomicU64,
    /// Signals for this thread.
    pub(crate) signals: Queue,
    /// The alternate signal stack.
    pub(crate) alternate_stack: StackCell,
    /// The signal that its process gets when the parent's thread ends, or 0 (prctl).
    pub(crate) parent_death_signal: AtomicU32,
    /// Whether it may have children, which get another parent at its end. Set by the thread itself,
    /// or under the lock on its process's threads.
    pub(super) has_children: AtomicBool,
    /// The thread that waits until this one no longer uses its address space (vfork).
    vfork_done: Option<Arc<Event>>,
    /// Its wishes to the scheduler.
    pub(crate) scheduling: Scheduling,
    /// A file that it polls has changed.
    pub(crate) polled: Event,
    vector: UnsafeCell<Option<Box<VectorState>>>,
    /// Its registers that no facility bit guards, while it does not run.
    pub(crate) ungated: Ungated,
}

// SAFETY: `vector` is touched by the thread itself, or by the CPU that switches away from it, with
// preemption off; all other fields are atomic or locked.
unsafe impl Sync for Thread {}

impl Thread {
    /// The first or a further thread of `process`.
    pub(super) fn new(tid: u32, process: Arc<Process>) -> Self {
        Thread {
            tid: AtomicU32::new(tid),
            process,
            clear_child_tid: AtomicU64::new(0),
            robust_list: AtomicU64::new(0),
            blocked: AtomicU64::new(0),
            awaited: AtomicU64::new(0),
            signals: Queue::new(),
            alternate_stack: StackCell::none(),
            parent_death_signal: AtomicU32::new(0),
            has_children: AtomicBool::new(false),
            vfork_done: None,
            scheduling: Scheduling::new(),
            polled: Event::new(),
            vector: UnsafeCell::new(None),
            ungated: Ungated::fresh(),
        }
    }

    /// With the event `done`, which happens when it no longer uses its address space.
    pub(super) fn with_vfork_done(mut self, done: Option<Arc<Event>>) -> Self {
        self.vfork_done = done;
        self
    }

    /// Reports that it no longer uses the address space that it had: it has another, or ends. The
    /// event is the thread's, not its process's, as in Linux (`mm_release`). A second call, at the
    /// end after an exec, does no harm.
    pub(super) fn tell_vfork_done(&self) {
        if let Some(done) = &self.vfork_done {
            done.wake();
        }
    }

    /// Its number.
    #[inline]
    pub(crate) fn tid(&self) -> u32 {
        self.tid.load(Ordering::Relaxed)
    }

    /// exec makes the thread that calls it the first of its process.
    pub(super) fn set_tid(&self, tid: u32) {
        self.tid.store(tid, Ordering::Relaxed);
    }

    /// Saves the vector registers if `frame`, this thread's user context, has
    /// them loaded. At the switch away from it.
    ///
    /// # Safety
    /// This thread runs here, preemption is off, and `frame` is its user context.
    #[inline]
    pub(crate) unsafe fn save_vectors(&self, frame: &mut TrapFrame) {
        // SAFETY: only this CPU touches `vector` (see `Sync`).
        if let Some(state) = unsafe { &mut *self.vector.get() } {
            state.save(frame);
        }
    }

    /// Gives this thread, which has not run yet, the vector and ungated registers of `parent`,
    /// which runs with the user context `frame`.
    pub(super) fn with_registers_of(mut self, parent: &Own<Thread>, frame: &TrapFrame) -> Self {
        *self.vector.get_mut() = parent.copy_vector(frame);
        self.ungated = Ungated::of_running();
        self
    }
}

impl Own<Thread> {
    /// Runs `f`, which does not sleep, on the vector registers in memory; none before their
    /// first use.
    fn with_vector<R>(&self, f: impl FnOnce(&mut Option<Box<VectorState>>) -> R) -> R {
        let _stay = preempt::disable();
        // SAFETY: the cell is the running thread's, and no switch touches it, since preemption is
        // off.
        f(unsafe { &mut *self.vector.get() })
    }

    /// Loads the vector registers and turns them on in `frame`, the user context.
    ///
    /// # Errors
    /// `ENOMEM` at the first use.
    pub(crate) fn load_vector(&self, frame: &mut TrapFrame) -> Result<(), Errno> {
        let first_use = self.with_vector(|vector| vector.is_none());
        if first_use {
            heap::check_room(size_of::<VectorState>())?;
        }
        let fresh = first_use.then(Box::<VectorState>::default);
        self.with_vector(|vector| {
            if fresh.is_some() {
                *vector = fresh;
            }
            vector.as_ref().expect("just made").load(frame);
        });
        Ok(())
    }

    /// A copy of the vector registers; none if it has never used them.
    fn copy_vector(&self, frame: &TrapFrame) -> Option<Box<VectorState>> {
        self.with_vector(|vector| {
            vector.as_mut()?.copy_live(frame);
            vector.clone()
        })
    }

    /// Takes the vector registers out of `frame`, its user context; `keep` stores them for the
    /// return of a signal handler, which itself begins with FPSCR 0 (Linux: `handle_rt_signal64`).
    /// `keep` is not called if the thread has never used them, and must not sleep.
    pub(super) fn vector_for_handler(&self, frame: &mut TrapFrame, keep: impl FnOnce(&VectorState)) {
        self.with_vector(|vector| {
            if let Some(state) = vector {
                state.save(frame);
                keep(state);
                state.fpscr = 0;
            }
        });
    }

    /// Its FPSCR, with the user context `frame`.
    pub(super) fn fpscr(&self, frame: &TrapFrame) -> u64 {
        self.with_vector(|vector| {
            vector.as_mut().map_or(0, |state| {
                state.copy_live(frame);
                state.fpscr
            })
        })
    }

    /// Replaces the vector registers in memory, from which the next use loads them. None makes them
    /// all zero.
    pub(super) fn set_vector(&self, new: Option<Box<VectorState>>, frame: &mut TrapFrame) {
        let old = self.with_vector(|vector| {
            frame.msr &= !Msr::VECTOR_STATE.bits();
            core::mem::replace(vector, new)
        });
        drop(old);
    }
}
