//! The choice of a CPU for a runnable task.
//!
//! It is the CPU that the task ran on last, if that is idle: the address space may still be loaded
//! there. Otherwise it is an idle CPU. Without one it is the last CPU again, or the CPU with the
//! shortest queue if the task may not run there any more; the next idle CPU steals it. A task whose
//! CPUs are all offline may run everywhere from then on, as in Linux.

use core::sync::atomic::{Ordering, fence};

use kcore::cpu::{CpuId, CpuSet};
use kcore::machine::IrqsOff;

use super::affinity::may_run_on;
use super::cpu::{self, Cpu, ONLINE};
use super::cpu_bits::search;
use super::descriptor::Task;
use super::window::Window;
use super::{resched, watchdog};
use crate::sync::SpinWait;

/// Puts a runnable task that is in no queue into one, and notifies its CPU. It may run and end from
/// then on. The end of the caller's section answers a request to schedule that was made of this CPU.
pub(super) fn queue(task: &Task, off: &IrqsOff) {
    // The CPU that it left may still be on its stack.
    if task.on_cpu.is_set() {
        wait_for_stack(task);
    }
    let me = cpu::this();
    let (cpu, claimed) = choose(task, me);
    Window::Placed.pass(task);
    let (pushed, told) = (Window::Pushed.later(task), Window::Told.later(task));
    let mut queue = cpu.queue.lock_with(off);
    queue.push(task, claimed);
    // F30 fence: orders the push before the looks at the idle flag, the slice timer, the affinity and
    // ONLINE. Partners: `idle_loop`, `tick`, `set_affinity`, `offline`.
    fence(Ordering::SeqCst);
    // Under the lock, which keeps the task from running, and ending, before our last look at it.
    let stays = may_run_on(task, cpu) || !queue.remove(task);
    drop(queue);
    pushed();
    // If the task does not stay there, the CPU finds that it has nothing to do.
    if claimed || cpu.idle_flag.claim() {
        resched::resched_with(cpu, me, off);
    } else if !cpu.clock.slice_is_timed() {
        resched::poke(cpu, me, off);
    } else {
        watchdog::expect_slice_to_end(me, off);
    }
    told();
    if !stays {
        queue_again(task, off);
    }
}

/// The task may not run any more where it was queued, and is in no queue again.
// Not a loop, for whose rare second turn the first one would save registers.
#[cold]
#[inline(never)]
fn queue_again(task: &Task, off: &IrqsOff) {
    queue(task, off);
}

/// Waits until no CPU is on the stack of `task`.
#[cold]
#[inline(never)]
fn wait_for_stack(task: &Task) {
    let mut wait = SpinWait::new("a CPU to leave a task's stack");
    while task.on_cpu.is_set() {
        Window::WaitsForStack.pass(task);
        wait.turn();
    }
}

/// The CPU for `task`, and whether it is an idle one that we have claimed.
#[inline]
fn choose(task: &Task, me: &'static Cpu) -> (&'static Cpu, bool) {
    let last = if task.last_ran_on(me) { me } else { cpu::get(task.cpu()) };
    let may_stay = may_run_on(task, last);
    if may_stay && last.idle_flag.claim() {
        return (last, true);
    }
    if may_stay && task.affinity.is_only(last.id, cpu::count()) {
        return (last, false);
    }
    match claim_idle(task, last) {
        Some(idle) => (idle, true),
        None if may_stay => (last, false),
        None => (shortest_queue(task), false),
    }
}

/// Claims the first of the CPUs where `task` may run that is idle and that no other waker claims;
/// from behind `last` on.
// Not inlined: a task that is bound to a CPU, or finds idle the one that it ran on, is woken without it.
#[inline(never)]
fn claim_idle(task: &Task, last: &Cpu) -> Option<&'static Cpu> {
    let claim = |id: CpuId| cpu::all().get(id.index()).filter(|cpu| cpu.idle_flag.claim());
    search(|word| task.affinity.word(word), last.id, cpu::count(), claim)
}

/// The shortest queue of the CPUs where `task` may run. A task without such a CPU may run
/// everywhere from now on.
#[cold]
#[inline(never)]
fn shortest_queue(task: &Task) -> &'static Cpu {
    loop {
        let allowed = task.affinity();
        if let Some(cpu) = shortest_of(&allowed) {
            return cpu;
        }
        // Has no effect on words that were changed meanwhile: the loop reads the new affinity.
        task.affinity.replace(&allowed, &CpuSet::first(cpu::count()));
    }
}

fn shortest_of(allowed: &CpuSet) -> Option<&'static Cpu> {
    cpu::all()
        .iter()
        .filter(|cpu| ONLINE.contains(cpu.id) && allowed.contains(cpu.id))
        .min_by_key(|cpu| cpu.queue.len())
}
