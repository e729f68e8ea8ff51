//! Seats: which thread acts as which CPU.
//!
//! A thread takes the seat of a CPU with [`Model::on`] and acts as it. A CPU whose seat
//! is empty idles with interrupts on: a thread that waits for it may take the seat and
//! run its interrupt handler. So a test needs no thread for a CPU that only answers, and
//! loom sees no endless idle loops.

use core::cell::RefCell;

use super::Model;
use crate::cpu::CpuId;
use crate::machine::{IrqsOff, PreemptOff};
use crate::sync::{Ordering, thread, thread_local};

/// The CPU whose seat this thread has, and how many sections of each kind it is in.
#[derive(Clone, Copy)]
pub(super) struct Context {
    pub(super) cpu: CpuId,
    pub(super) irqs_off: u32,
    pub(super) preempt_off: u32,
}

impl Context {
    fn of(cpu: CpuId) -> Self {
        Self { cpu, irqs_off: 0, preempt_off: 0 }
    }
}

/// The end of acting as a CPU, also where a test catches a panic.
struct Acting<'a> {
    machine: &'a Model,
    depth: usize,
    seat: bool,
}

impl Drop for Acting<'_> {
    fn drop(&mut self) {
        let contexts = CONTEXTS.with(|c| c.borrow_mut().split_off(self.depth));
        // The task may have migrated meanwhile: the seat is the last CPU's.
        if let (true, Some(last)) = (self.seat, contexts.first()) {
            self.machine.leave_seat(last.cpu);
        }
    }
}

thread_local! {
    /// The CPUs that this thread acts as, the innermost last. It runs as that one. The
    /// others wait for it at a point, where they can still be interrupted.
    #[allow(clippy::missing_const_for_thread_local, reason = "loom's macro takes no const block")]
    static CONTEXTS: RefCell<Vec<Context>> = RefCell::new(Vec::new());
}

impl Model {
    /// Acts as `cpu`, whose seat must become free, while `f` runs.
    pub fn on<R>(&self, cpu: CpuId, f: impl FnOnce() -> R) -> R {
        while !self.take_seat(cpu) {
            thread::yield_now();
        }
        self.acting_as(cpu, true, f)
    }

    /// Runs `f` as `cpu`; gives the seat back afterwards if it was taken for this.
    pub(super) fn acting_as<R>(&self, cpu: CpuId, seat: bool, f: impl FnOnce() -> R) -> R {
        let acting = Acting { machine: self, depth: CONTEXTS.with(|c| c.borrow().len()), seat };
        CONTEXTS.with(|c| c.borrow_mut().push(Context::of(cpu)));
        let result = f();
        let left = self.context();
        assert!(left.irqs_off == 0 && left.preempt_off == 0, "{} left in the middle of something", left.cpu);
        drop(acting);
        result
    }

    pub(super) fn take_seat(&self, cpu: CpuId) -> bool {
        let seat = &self.cpus[cpu.index()].seat;
        seat.compare_exchange(0, 1, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }

    pub(super) fn leave_seat(&self, cpu: CpuId) {
        self.cpus[cpu.index()].seat.store(0, Ordering::Release);
    }

    /// Whether this thread acts as `cpu`, or will again, and can be interrupted there.
    pub(super) fn is_interruptible_as(&self, cpu: CpuId) -> bool {
        CONTEXTS.with(|c| c.borrow().iter().any(|c| c.cpu == cpu && c.irqs_off == 0))
    }

    pub(super) fn context(&self) -> Context {
        self.context_if_any().expect("this thread acts as no CPU")
    }

    /// None if this thread acts as no CPU.
    pub(super) fn context_if_any(&self) -> Option<Context> {
        CONTEXTS.with(|c| c.borrow().last().copied())
    }

    pub(super) fn set_context(&self, context: Context) {
        CONTEXTS.with(|c| *c.borrow_mut().last_mut().expect("a context") = context);
    }

    fn with_context<R>(&self, change: impl Fn(&mut Context, bool), f: impl FnOnce(CpuId) -> R) -> R {
        let step = |enter| {
            let mut context = self.context();
            change(&mut context, enter);
            self.set_context(context);
            context.cpu
        };
        let cpu = step(true);
        let result = f(cpu);
        let same = step(false);
        assert!(cpu == same, "a section without preemption began on {cpu} and ended on {same}");
        result
    }

    pub(super) fn in_preempt_off<R>(&self, f: impl FnOnce(&PreemptOff) -> R) -> R {
        let change = |c: &mut Context, enter| {
            if enter { c.preempt_off += 1 } else { c.preempt_off -= 1 }
        };
        self.with_context(change, |cpu| f(&PreemptOff::of_model(cpu)))
    }

    /// Like [`Cpu::with_irqs_off`], but an IPI that came meanwhile stays pending at the
    /// end.
    ///
    /// [`Cpu::with_irqs_off`]: crate::machine::Cpu::with_irqs_off
    pub(super) fn in_irqs_off<R>(&self, f: impl FnOnce(&IrqsOff) -> R) -> R {
        let change = |c: &mut Context, enter| {
            if enter { c.irqs_off += 1 } else { c.irqs_off -= 1 }
        };
        self.with_context(change, |cpu| f(&IrqsOff::of_model(cpu)))
    }
}
