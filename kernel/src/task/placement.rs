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
    cpu.queue.lock().push(task, claimed);
    // Orders the push before the looks. For the idle flag the partner is the fence in the idle
    // loop, between the flag and the look at the queue. For the slice timer it is in `Clock::tick`; for
    // the affinity and ONLINE, in `set_affinity` and `offline`.
    fence(Ordering::SeqCst);
    Window::Pushed.pass(task);
    if claimed || cpu.idle_flag.claim() {
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
    if may_stay && cpu::get(last).idle_flag.claim() {
        return (last, true);
    }
    if let Some(idle) = cpu::all_behind(last).find(|cpu| may_claim(cpu, task)) {
        return (idle.id, true);
    }
    let target = if may_stay { last } else { shortest_queue(task) };
    (target, false)
}

/// Whether `cpu` is idle, `task` may run there, and no other waker was faster.
fn may_claim(cpu: &Cpu, task: &Task) -> bool {
    cpu.idle_flag.is_set() && task.affinity.contains(cpu.id) && cpu.idle_flag.claim()
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
