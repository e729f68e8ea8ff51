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

use arch::context::{self, fpu};
use arch::{irqflags, percpu, timer};
use kcore::lazy_tlb::EndedBorrow;
use kcore::machine::IrqsOff;

use super::affinity;
use super::cpu::{self, Cpu};
use super::cpu_bits::search;
use super::descriptor::{Task, TaskPtr, TaskRef};
use super::run_queue::OVERLOADED;
use super::window::Window;
use crate::machine::lazy_tlb;
use crate::sync::{IrqSection, preempt};
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
pub(super) fn sleep() {
    leave(Leave::Sleep);
}

/// As [`sleep`], in a section that began with interrupts on.
#[inline(always)]
pub(crate) fn sleep_within(irqs: &mut IrqSection) {
    check_preemption();
    irqs.lend_mut(|off| schedule(Leave::Sleep, off));
}

/// Lets the tasks that wait for this CPU run first. Interrupts and preemption on.
pub(crate) fn yield_now() {
    leave(Leave::Yield);
}

#[inline]
pub(super) fn leave(why: Leave) {
    check_preemption();
    irqflags::disable().lend_mut(|off| schedule(why, off));
}

/// Panics if preemption is off: the running task is about to switch.
#[inline(always)]
pub(super) fn check_preemption() {
    assert!(
        percpu::preempt_count() == 0,
        "{} would switch with preemption off ({} times)",
        super::current().name(),
        percpu::preempt_count()
    );
}

/// The task that a switch has left, and what is to be done for it on the other stack. One word,
/// which the switch hands over: tasks lie at multiples of more than the marks.
#[derive(Clone, Copy)]
pub(super) struct Left(u64);

impl Left {
    /// Its borrow has ended.
    const ENDED_BORROW: u64 = 1;
    /// It has made its last switch.
    const DEAD: u64 = 2;
    /// It is runnable, but may not stay on this CPU.
    const EVICTED: u64 = 4;
    const MARKS: u64 = Self::ENDED_BORROW | Self::DEAD | Self::EVICTED;

    fn new(task: &Task, why: Leave, evicted: bool, ends_borrow: bool) -> Self {
        let mark = |mark, set: bool| if set { mark } else { 0 };
        Self(
            task.as_ptr().raw().expose_provenance() as u64
                | mark(Self::ENDED_BORROW, ends_borrow)
                | mark(Self::DEAD, why == Leave::Exit)
                | mark(Self::EVICTED, evicted),
        )
    }

    /// From the word of a switch.
    ///
    /// # Safety
    /// The switch has just handed it over. The result is used as long as the task exists: if it is
    /// neither dead nor evicted, until its `on_cpu` is released.
    pub(super) unsafe fn of_word(word: u64) -> Self {
        Self(word)
    }

    #[inline(always)]
    fn has(self, marks: u64) -> bool {
        self.0 & marks != 0
    }

    #[inline(always)]
    fn task(&self) -> &Task {
        let task = core::ptr::with_exposed_provenance((self.0 & !Self::MARKS) as usize);
        // SAFETY: the contract of `of_word`.
        unsafe { &*task }
    }
}

const _: () = assert!(align_of::<Task>() as u64 > Left::MARKS);

/// Gives the CPU to the next task, if there is one. Returns when the running
/// task is given a CPU again, which `off` is the proof for then. Preemption count 0.
pub(super) fn schedule(why: Leave, off: &mut IrqsOff) {
    let cpu = cpu::this();
    let prev = super::current();
    // Before the look at the queue: a request from here on sends another interrupt.
    cpu.need_resched.take();
    cpu.watch.went();
    let (next, evicted) = pick_next(cpu, &prev, why, off);
    if next == prev.as_ptr() {
        set_work_for(cpu, &prev);
        return;
    }
    // SAFETY: it came from a run queue, or is the idle task.
    let left = switch(cpu, &prev, unsafe { next.get() }, why, evicted, off);
    // SAFETY: the switch has come back to us.
    *off = unsafe { finish(left) };
}

/// Sets the work flag if `task` has something pending, and only then: the request to schedule is
/// being answered. A later pending bit comes with an interrupt.
#[inline]
fn set_work_for(cpu: &Cpu, task: &Task) {
    cpu.area.set_work_if(task.pending());
}

/// Chooses what runs next, and puts `prev` where it belongs. Returns also whether `prev` is evicted:
/// `finish` hands it on, when its stack is free.
#[inline(always)]
fn pick_next(cpu: &Cpu, prev: &Task, why: Leave, off: &IrqsOff) -> (TaskPtr, bool) {
    let goes_on = match why {
        Leave::Sleep => {
            Window::FallsAsleep.pass(prev);
            !prev.run_state.fall_asleep()
        }
        Leave::Exit => false,
        // The idle task is in no queue.
        Leave::Yield => prev.as_ptr() != cpu.idle,
    };
    if goes_on { rotate(cpu, prev, off) } else { (take_first(cpu, off), false) }
}

/// Takes what runs instead of a task that does not go on.
#[inline(always)]
fn take_first(cpu: &Cpu, off: &IrqsOff) -> TaskPtr {
    let first = if cpu.queue.len() == 0 { None } else { cpu.queue.lock_with(off).pop() };
    let Some(first) = first else { return take_elsewhere(cpu) };
    // Set only if the idle task ran, and then a waker has usually claimed it already.
    cpu.idle_flag.claim();
    first
}

/// The same, where nothing is queued.
#[inline(always)]
fn take_elsewhere(cpu: &Cpu) -> TaskPtr {
    // A CPU that goes offline gets no more to do.
    if !cpu::ONLINE.contains(cpu.id) {
        return cpu.idle;
    }
    if !OVERLOADED.is_empty(cpu::count())
        && let Some(stolen) = steal(cpu)
    {
        cpu.idle_flag.claim();
        return stolen;
    }
    Window::GoesIdle.pass(cpu.idle());
    cpu.idle_flag.set();
    cpu.idle
}

/// Takes the first of the queue; `prev`, if it may stay, becomes the last. If the queue is empty,
/// it goes on. If it may not stay, it is evicted.
#[inline(always)]
fn rotate(cpu: &Cpu, prev: &Task, off: &IrqsOff) -> (TaskPtr, bool) {
    Window::Chooses.pass(prev);
    let stays = || affinity::may_run_on(prev, cpu);
    if cpu.queue.len() == 0 {
        return if stays() { (prev.as_ptr(), false) } else { (take_instead(cpu, off), true) };
    }
    let mut queue = cpu.queue.lock_with(off);
    // Under the lock. A task that forbids the CPU searches the queue with the lock held, so either
    // we see the change, or `prev` is found in the queue. Partners: `set_affinity` and `offline`.
    if !stays() {
        drop(queue);
        return (take_instead(cpu, off), true);
    }
    (queue.exchange(prev).unwrap_or(prev.as_ptr()), false)
}

/// Takes what runs instead of a task that is evicted.
#[cold]
#[inline(never)]
fn take_instead(cpu: &Cpu, off: &IrqsOff) -> TaskPtr {
    take_first(cpu, off)
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

/// Switches from the stack of `prev` to that of `next`. Returns when a CPU has switched back to
/// `prev`, with what that CPU has left.
#[inline]
fn switch(cpu: &Cpu, prev: &Task, next: &Task, why: Leave, evicted: bool, off: &IrqsOff) -> Left {
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
    // No CPU can take `next` from us: it is in no queue.
    next.on_cpu.begin();
    trace::switch(&prev.mm, &next.mm, &next.tid, || cpu.loaded(), why as u8);
    let arm = lazy_tlb().prepare_switch(off, &prev.mm, &next.mm);
    let left = Left::new(prev, why, evicted, arm.ends_borrow());
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
        Left::of_word(context::switch_to(prev.context.get(), next.context.get(), left.0))
    }
}

/// The first act on the new stack. Interrupts are on in between if something is to be
/// dropped.
///
/// # Safety
/// [`context::switch_to`] has just come here, from `left`.
#[inline(always)]
pub(super) unsafe fn finish(left: Left) -> IrqsOff {
    // SAFETY: the task that was left had them off, and its token is not used until it is back.
    let mut off = unsafe { irqflags::already_off() };
    let borrow = lazy_tlb().finish_switch(&off, left.has(Left::ENDED_BORROW));
    left.task().on_cpu.end();
    if left.has(Left::MARKS) {
        finish_marked(left, lazy_tlb().left_to_settle(borrow), &mut off);
    }
    off
}

/// The work of a switch that needs interrupts on. Preemption is off meanwhile, so that such work
/// does not nest.
#[cold]
#[inline(never)]
fn finish_marked(left: Left, borrow: Option<EndedBorrow>, off: &mut IrqsOff) {
    if borrow.is_none() && !left.has(Left::DEAD | Left::EVICTED) {
        return;
    }
    let settle = || {
        lazy_tlb().settle_switch(borrow);
        if left.has(Left::DEAD) {
            // SAFETY: the task's own reference, which came from `TaskRef::into_raw` in `spawn`; it
            // has made its last switch, and only we give it back.
            drop(unsafe { TaskRef::from_raw(left.task()) });
        } else if left.has(Left::EVICTED) {
            Window::HandedOn.pass(left.task());
            left.task().run_again();
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
