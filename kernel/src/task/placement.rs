//! The choice of a CPU for a runnable task.
//!
//! It is the CPU that the task ran on last, if that is idle: the address space may still be loaded
//! there. Otherwise it is an idle CPU. Without one it is the last CPU again, or the CPU with the
//! shortest queue if the task may not run there any more; the next idle CPU steals it. A task whose
//! CPUs are all offline may run everywhere from then on, as in Linux.

use core::sync::atomic::{Ordering, fence};

use kcore::cpu::{CpuId, CpuSet};

use super::cpu::{self, Cpu, ONLINE};
use super::descriptor::Task;
use super::idle::IDLE;
use super::window::Window;
use super::{resched, watchdog};
use crate::sync::SpinWait;

/// Puts a runnable task that is in no queue into one, and notifies its CPU. The caller keeps the
/// task alive: by a reference, or by a lock that the task takes before it can end. Any context.
pub(super) fn queue(task: &Task) {
    // The CPU that it left may still be on its stack.
    let mut wait = SpinWait::new("a CPU to leave a task's stack");
    while task.on_cpu.is_set() {
        Window::WaitsForStack.pass(task);
        wait.turn();
    }
    let (target, claimed) = choose(task);
    let cpu = cpu::get(target);
    Window::Placed.pass(task);
    cpu.queue.lock().push(task);
    // Orders the push before the looks. For the look at IDLE the partner is the fence in the idle
    // loop, between IDLE and the look at the queue. For the slice timer it is in `Clock::tick`; for
    // the affinity and ONLINE, in `set_affinity` and `offline`.
    fence(Ordering::SeqCst);
    Window::Pushed.pass(task);
    if claimed || IDLE.take(target) {
        resched::resched(cpu);
    } else if !cpu.clock.slice_is_timed() {
        resched::time_slice(cpu);
    } else {
        watchdog::expect_slice_to_end();
    }
    Window::Told.pass(task);
    super::affinity::check_placement(task, cpu);
}

/// The CPU for `task`, and whether it is an idle one that we have claimed.
fn choose(task: &Task) -> (CpuId, bool) {
    let last = task.cpu();
    let may_stay = task.affinity.contains(last) && ONLINE.contains(last);
    if may_stay && IDLE.take(last) {
        return (last, true);
    }
    while let Some(idle) = IDLE.first_common(&task.affinity, last, cpu::count()) {
        // Another waker may have claimed it meanwhile.
        if IDLE.take(idle) {
            return (idle, true);
        }
    }
    let target = if may_stay { last } else { shortest_queue(task) };
    (target, false)
}

/// The shortest queue of the CPUs where `task` may run. A task without such a CPU may run
/// everywhere from now on.
fn shortest_queue(task: &Task) -> CpuId {
    loop {
        let allowed = task.affinity();
        if let Some(cpu) = shortest_of(&allowed) {
            return cpu.id;
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
