//! A task's affinity changes, or the task moves, in the middle of another operation.

use alloc::string::String;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use arch::{irqflags, percpu};
use kcore::cpu::{CpuId, CpuSet};

use super::{actor_on, hold, once_held};
use crate::machine::lazy_tlb;
use crate::selftest::gate::{Gate, expect_end, sleeper_on, spinner_on};
use crate::selftest::script::{self, script};
use crate::selftest::stage::{last_others, move_task, move_to};
use crate::selftest::{Verdict, check, check_eq};
use crate::sync::preempt;
use crate::task::{self, TaskRef, Window, kthread, pending, registry};

/// The CPU that a task found itself on.
#[derive(Clone)]
struct Whereabouts(Arc<AtomicU64>);

impl Whereabouts {
    fn new() -> Self {
        Self(Arc::new(AtomicU64::new(u64::MAX)))
    }

    fn note(&self) {
        self.0.store(percpu::cpu_id().index() as u64, Ordering::Release);
    }

    fn check(&self, cpu: CpuId, what: &str) -> Result<(), String> {
        check_eq!(self.0.load(Ordering::Acquire), cpu.index() as u64, what);
        Ok(())
    }
}

/// A task on `cpu` that takes turns with another there, and records its CPU when it runs again
/// after `steps` steps of the script.
fn one_of_two(cpu: CpuId, steps: usize, found: &Whereabouts) -> TaskRef {
    let found = found.clone();
    actor_on(cpu, move || {
        script::wait_until_passed(steps);
        found.note();
    })
}

/// A task is sent away while it waits in a queue and its CPU is still on its stack.
pub(super) fn changes_while_queued() -> Verdict {
    let [cpu] = last_others()?;
    let (gate, found, me) = (Gate::new(), Whereabouts::new(), percpu::cpu_id());
    let task = one_of_two(cpu, 3, &found);
    let play = script::play(script! {
        cpu reaches Window::LeavesStack.of(&task);
        me reaches Window::WaitsForStack.of(&task);
        cpu leaves Window::LeavesStack.of(&task);
    });
    let busy = spinner_on(cpu, &gate);
    script::wait_until_passed(1);
    move_task(&task, me);
    let ended = expect_end(&task, "a task that was moved from the queue is lost");
    gate.open();
    busy.wait_exit();
    ended?;
    found.check(me, "where a queued task runs that was sent away")?;
    play.complete()
}

/// A task is sent away when its CPU gives it up and has not queued it yet: it goes at once, not a
/// slice later or never.
pub(super) fn changes_while_chosen() -> Verdict {
    let [cpu] = last_others()?;
    let (gate, found, me) = (Gate::new(), Whereabouts::new(), percpu::cpu_id());
    let task = one_of_two(cpu, 3, &found);
    let play = hold(cpu, Window::Chooses.of(&task), me);
    let busy = spinner_on(cpu, &gate);
    once_held(|| move_task(&task, me));
    let ended = expect_end(&task, "a task that was sent away as it yields is lost");
    gate.open();
    busy.wait_exit();
    ended?;
    found.check(me, "where a task runs that was sent away before it was queued")?;
    play.complete()
}

/// A task is sent away when its waker has chosen its CPU and not queued it there yet.
pub(super) fn changes_while_woken() -> Verdict {
    let [cpu] = last_others()?;
    let (gate, found, me) = (Gate::new(), Whereabouts::new(), percpu::cpu_id());
    let told = found.clone();
    let sleeper = sleeper_on(cpu, &gate, move || told.note())?;
    let seen = gate.clone();
    let waker = actor_on(cpu, move || seen.open());
    let play = hold(cpu, Window::Placed.of(&sleeper), me);
    once_held(|| move_task(&sleeper, me));
    expect_end(&sleeper, "a task that was sent away as it was woken is lost")?;
    waker.wait_exit();
    found.check(me, "where a task runs that was sent away as it was woken")?;
    play.complete()
}

/// A task was sent away, and is sent elsewhere before it is in any queue.
pub(super) fn changes_while_evicted() -> Verdict {
    let [target, cpu] = last_others()?;
    let (found, me) = (Whereabouts::new(), percpu::cpu_id());
    let told = found.clone();
    let task = actor_on(cpu, move || {
        move_to(CpuId::BOOT);
        told.note();
    });
    let play = hold(cpu, Window::HandedOn.of(&task), me);
    once_held(|| move_task(&task, target));
    expect_end(&task, "a task that was sent away twice is lost")?;
    found.check(target, "where a task runs that was sent away twice")?;
    play.complete()
}

/// A task is confined to the CPU where it is queued when a thief has chosen it, but not yet taken
/// it out: the thief's CPU is interrupted.
pub(super) fn changes_while_stolen() -> Verdict {
    let [cpu] = last_others()?;
    let (me, busy) = (percpu::cpu_id(), Gate::new());
    let (prey_tid, asked) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU64::new(0)));
    let (began, tid, told) = (busy.clone(), prey_tid.clone(), asked.clone());
    // It keeps its CPU from the prey, which waits there.
    let owner = kthread::spawn_on(cpu, "test-owner", move || {
        let _stay = preempt::disable();
        // Before the thief can come: it is held with this CPU's queue locked. A timer that woke a
        // task here would wait for the thief, and the thief for us.
        let off = irqflags::disable();
        began.open();
        script::wait_until_played();
        script::wait_until_passed(1);
        let prey = registry::find(tid.load(Ordering::Relaxed)).expect("the prey has not run");
        let sent = || lazy_tlb().cpu(cpu).counters.ipi_sent_resched.get();
        let before = sent();
        task::set_affinity(&prey, &CpuSet::only(cpu)).expect("an online CPU");
        drop(off);
        told.store(sent() - before, Ordering::Release);
    });
    busy.wait();
    let prey = kthread::spawn_on(cpu, "test-prey", move || {
        while percpu::cpu_id() != cpu {
            core::hint::spin_loop();
        }
    });
    prey_tid.store(prey.tid(), Ordering::Relaxed);
    let mut both = CpuSet::only(cpu);
    both.insert(me);
    task::set_affinity(&prey, &both).map_err(|_| "no CPU")?;
    let play = script::play(script! {
        me reaches Window::Stolen.of(&prey);
        cpu reaches Window::AffinityStored.of(&prey);
        me leaves Window::Stolen.of(&prey);
    });
    // This CPU has nothing to do, so it tries to steal.
    owner.wait_exit();
    expect_end(&prey, "a task that was told to stay as it was stolen is lost")?;
    check!(asked.load(Ordering::Acquire) != 0, "a thief was not told that its prey may not run there");
    play.complete()
}

/// A task is sent away while it runs with preemption off: it stays until preemption is
/// on, and then goes at once.
pub(super) fn changes_with_preemption_off() -> Verdict {
    let [cpu] = last_others()?;
    let (stayed, went, me) = (Whereabouts::new(), Whereabouts::new(), percpu::cpu_id());
    let (off, on) = (stayed.clone(), went.clone());
    // Off before the script is played: an interrupt after that would look for requests too early.
    let task = kthread::spawn_on(cpu, "test-actor", move || {
        let stay = preempt::disable();
        script::wait_until_played();
        script::mark();
        // The request comes meanwhile.
        script::wait_until_passed(2);
        off.note();
        drop(stay);
        on.note();
    });
    let looks = Window::Looks.of(&task);
    let play = script::play(script! {
        cpu marks;
        cpu reaches looks;
    });
    script::wait_until_passed(1);
    move_task(&task, me);
    expect_end(&task, "a task that was sent away with preemption off is lost")?;
    stayed.check(cpu, "where a task is with preemption off")?;
    went.check(me, "where it is when preemption is on")?;
    play.complete()
}

/// A task moves when it has got a pending bit and before its CPU is interrupted: it finds the bit
/// on its new CPU.
pub(super) fn moves_when_notified() -> Verdict {
    let [target, cpu] = last_others()?;
    let (me, noticed) = (percpu::cpu_id(), Arc::new(AtomicU64::new(u64::MAX)));
    let told = noticed.clone();
    let task = actor_on(cpu, move || {
        script::wait_until_passed(1);
        move_to(target);
        told.store(percpu::this().work_pending().into(), Ordering::Release);
        task::current().clear_pending(pending::SIGNAL);
        script::mark();
    });
    let kicked = Window::Kicked.of(&task);
    let play = script::play(script! {
        me reaches kicked;
        target marks;
        me leaves kicked;
    });
    task.notify(pending::SIGNAL);
    expect_end(&task, "a task that was notified as it moves is lost")?;
    check_eq!(noticed.load(Ordering::Acquire), 1, "the work flag where a notified task has moved to");
    play.complete()
}
