//! The context switch.
//!
//! ```text
//! schedule:  pick (run-queue lock) -> prepare_switch (address space) -> switch_to
//!            ------------------- the stack changes --------------------
//! finish:    finish_switch -> release on_cpu -> interrupts on: drop the borrow,
//!            the dead, the evicted
//! ```
//! All of it up to `finish` runs with interrupts off. The run-queue lock is held
//! for the pick only: `on_cpu` keeps other CPUs away from a task whose stack is
//! still in use here.

use core::sync::atomic::Ordering;

use arch::context::{self, fpu};
use arch::{irqflags, percpu, timer};
use kcore::lazy_tlb::EndedBorrow;
use kcore::machine::IrqsOff;

use super::cpu::{self, Cpu};
use super::cpu_bits::search;
use super::descriptor::{Task, TaskPtr, TaskRef};
use super::run_queue::OVERLOADED;
use super::window::Window;
use super::{affinity, placement};
use crate::machine::lazy_tlb;
use crate::sync::preempt;
use crate::trace;

/// Why the running task gives up its CPU.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Leave {
    /// It waits for something, and said so by `prepare_to_sleep`.
    Sleep,
    /// Others may run; it goes on later.
    Yield,
    /// It has ended.
    Exit,
}

/// Sleeps, unless the running task was woken since its [`Task::prepare_to_sleep`]. Interrupts and
/// preemption on.
#[inline]
pub(crate) fn sleep() {
    leave(Leave::Sleep);
}

/// Lets the tasks that wait for this CPU run first. Interrupts and preemption on.
pub(crate) fn yield_now() {
    leave(Leave::Yield);
}

#[inline]
pub(super) fn leave(why: Leave) {
    assert!(
        percpu::preempt_count() == 0,
        "{} would switch with preemption off ({} times)",
        super::current().name(),
        percpu::preempt_count()
    );
    irqflags::disable().lend_mut(|off| schedule(why, off));
}

/// Gives the CPU to the next task, if there is one. Returns when the running
/// task is given a CPU again, which `off` is the proof for then. Preemption count 0.
pub(super) fn schedule(why: Leave, off: &mut IrqsOff) {
    let cpu = cpu::this();
    let prev = super::current();
    // Before the look at the queue: a request from here on sends another interrupt.
    cpu.need_resched.take();
    cpu.watch.went();
    let next = pick_next(cpu, &prev, why, off);
    if next == prev.as_ptr() {
        set_work_for(cpu, &prev);
        return;
    }
    // SAFETY: it came from a run queue, or is the idle task.
    switch(cpu, &prev, unsafe { next.get() }, why, off);
    // SAFETY: the switch has come back to us.
    *off = unsafe { finish() };
}

/// Sets the work flag if `task` has something pending, and only then: the request to schedule is
/// being answered. A later pending bit comes with an interrupt.
#[inline]
fn set_work_for(cpu: &Cpu, task: &Task) {
    if task.interrupted() {
        cpu.area.set_work();
    } else {
        cpu.area.clear_work();
    }
}

/// Chooses what runs next, and puts `prev` where it belongs.
#[inline]
fn pick_next(cpu: &Cpu, prev: &Task, why: Leave, off: &IrqsOff) -> TaskPtr {
    let is_idle = prev.as_ptr() == cpu.idle;
    let runnable = match why {
        Leave::Sleep => {
            Window::FallsAsleep.pass(prev);
            !prev.run_state.fall_asleep()
        }
        Leave::Exit => false,
        // The idle task is in no queue.
        Leave::Yield => !is_idle,
    };
    Window::Chooses.pass(prev);
    let (queued, stays) = rotate(cpu, prev, runnable, off);
    if runnable && !stays {
        // `finish` hands it on, when its stack is free.
        cpu.evicted.store(prev.as_ptr().raw().cast_mut(), Ordering::Relaxed);
    }
    let next = match queued {
        None if stays => return prev.as_ptr(),
        // A CPU that goes offline gets no more to do.
        None if !cpu::ONLINE.contains(cpu.id) => return cpu.idle,
        None if OVERLOADED.is_empty(cpu::count()) => None,
        None => steal(cpu),
        next => next,
    };
    let Some(next) = next else {
        Window::GoesIdle.pass(cpu.idle());
        cpu.idle_flag.set();
        return cpu.idle;
    };
    if is_idle {
        // Usually a waker has claimed it already.
        cpu.idle_flag.claim();
    }
    next
}

/// Takes the first of the queue; `prev`, if it is runnable and may stay, becomes the last. Returns
/// whether it may stay: if the queue is empty, it goes on.
#[inline(always)]
fn rotate(cpu: &Cpu, prev: &Task, runnable: bool, off: &IrqsOff) -> (Option<TaskPtr>, bool) {
    let stays = || runnable && affinity::may_run_on(prev, cpu);
    if cpu.queue.len() == 0 {
        return (None, stays());
    }
    let mut queue = cpu.queue.lock_with(off);
    // Under the lock. A task that forbids the CPU searches the queue with the lock held, so either
    // we see the change, or `prev` is found in the queue. Partners: `set_affinity` and `offline`.
    let stays = stays();
    let next = queue.pop();
    if stays && next.is_some() {
        queue.push(prev, false);
    }
    (next, stays)
}

/// Takes a task from another CPU's queue.
#[inline(never)]
fn steal(cpu: &Cpu) -> Option<TaskPtr> {
    let common = |word| OVERLOADED.word(word) & cpu::ONLINE.word(word);
    let overloaded = |id| Some(cpu::get(id)).filter(|cpu| cpu.queue.is_overloaded());
    let victim = search(common, cpu.id, cpu::count(), overloaded)?;
    if victim.id == cpu.id {
        return cpu.queue.lock().pop();
    }
    victim.queue.steal_for(cpu.id)
}

/// Switches from the stack of `prev` to that of `next`.
#[inline]
fn switch(cpu: &Cpu, prev: &Task, next: &Task, why: Leave, off: &IrqsOff) {
    if let Some(user) = &prev.user {
        let frame = context::user_frame(prev.stack_top);
        // SAFETY: the frame of the running task, which is in the kernel; its place is valid from
        // `spawn` on. The task may hold a reference to it, but is switched away from, and reads the
        // bits that change here by `is_loaded`.
        let frame = unsafe { &mut *frame };
        if fpu::is_loaded(frame) {
            // SAFETY: `prev` runs here, interrupts are off, the frame is its own.
            unsafe { user.save_vectors(frame) };
        }
        user.ungated.save();
    }
    if let Some(user) = &next.user {
        user.ungated.load();
    }
    cpu.left.store(prev.as_ptr().raw().cast_mut(), Ordering::Relaxed);
    // No CPU can take `next` from us: it is in no queue.
    next.on_cpu.begin();
    trace::switch(&prev.mm, &next.mm, &next.tid, why as u8);
    lazy_tlb().prepare_switch(off, &prev.mm, &next.mm);
    // The full barrier in `prepare_switch` also orders the store to the task's `cpu` before this
    // look at its pending bits. Partner: `Task::notify`.
    set_work_for(cpu, next);
    let now_tb = timer::now_tb();
    prev.counts.leave(why, now_tb);
    next.counts.enter(now_tb);
    cpu.clock.start_slice(cpu, now_tb);
    Window::LeavesStack.pass(prev);
    // SAFETY: interrupts are off. The CPU that left `next` has released its `on_cpu` since, and
    // every way out of a run queue has acquired that: the waker before it queued `next`, the thief,
    // or this CPU left it. The stack that `set_current` names is the one that is switched to.
    unsafe {
        percpu::set_current(next.as_ptr().raw().cast(), next.stack_top);
        context::switch_to(prev.context.get(), next.context.get());
    }
}

/// The first act on the new stack. Interrupts are on in between if something is to be
/// dropped.
///
/// # Safety
/// [`context::switch_to`] has just come here.
#[inline(always)]
pub(super) unsafe fn finish() -> IrqsOff {
    // SAFETY: the task that was left had them off, and its token is not used until it is back.
    let mut off = unsafe { irqflags::already_off() };
    // Not the `cpu` from before the switch: this task may have moved since.
    let cpu = cpu::this();
    // SAFETY: we have just left it, and it owns its reference until below.
    let prev = unsafe { TaskPtr::new(cpu.left.load(Ordering::Relaxed)).get() };
    let borrow = lazy_tlb().left_to_settle(lazy_tlb().finish_switch(&off));
    let dead = prev.run_state.is_dead();
    prev.on_cpu.end();
    let evicted = cpu.evicted.load(Ordering::Relaxed);
    if borrow.is_some() || dead || !evicted.is_null() {
        cpu.evicted.store(core::ptr::null_mut(), Ordering::Relaxed);
        finish_slow(borrow, dead.then_some(prev), evicted, &mut off);
    }
    off
}

/// The work of a switch that needs interrupts on. Preemption is off meanwhile, so that such work
/// does not nest.
#[cold]
#[inline(never)]
fn finish_slow(borrow: Option<EndedBorrow>, dead: Option<&Task>, evicted: *const Task, off: &mut IrqsOff) {
    let settle = || {
        lazy_tlb().settle_switch(borrow);
        if let Some(dead) = dead {
            // SAFETY: the task's own reference, which came from `TaskRef::into_raw` in `spawn`; it
            // has made its last switch, and only we give it back.
            drop(unsafe { TaskRef::from_raw(dead) });
        }
        // SAFETY: null, or a runnable task that is in no queue.
        if let Some(evicted) = unsafe { evicted.as_ref() } {
            Window::HandedOn.pass(evicted);
            // It may run and exit as soon as it is queued.
            placement::queue(&evicted.to_ref());
        }
    };
    preempt::without(|| irqflags::enabled_while(off, settle));
}

#[cfg(feature = "selftest")]
impl Task {
    /// Whether it sleeps and its CPU has left it.
    pub(crate) fn is_at_rest(&self) -> bool {
        self.run_state.name() == "sleeping" && !self.on_cpu.is_set()
    }
}
