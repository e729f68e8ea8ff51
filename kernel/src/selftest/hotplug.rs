//! CPUs go offline and come back.

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use arch::irq::{self, InterruptController as _};
use arch::{percpu, timer};
use kcore::cpu::{CpuId, CpuSet};
use kcore::machine::{Cpu, Point};

use super::address_space::{check_account, new_mm, settled_account};
use super::gate::{Gate, spinner_on};
use super::programs::living_mms;
use super::scene::Scene;
use super::script::script;
use super::stage::{flush_work, in_us, last_others, other_cpus, others, start_on, wait_for};
use super::{Stop, Test, Verdict, check, check_eq};
use crate::machine::{call_function, lazy_tlb};
use crate::task::{self, Refused, TaskRef, kthread, work};

pub(super) const TESTS: &[Test] = &[
    Test::new("hotplug_refusals", refusals),
    Test::new("hotplug_moves_what_is_there", moves_what_is_there),
    Test::new("hotplug_work_goes_elsewhere", work_goes_elsewhere),
    Test::new("hotplug_by_a_task_of_the_cpu", by_a_task_of_the_cpu),
    Test::new("hotplug_call_on_its_way", call_on_its_way),
    Test::new("hotplug_ipi_while_stopped", ipi_while_stopped),
    Test::new("hotplug_storm", storm),
];

pub(super) fn take_offline(cpu: CpuId) -> Result<(), String> {
    task::offline(cpu).map_err(|why| format!("{cpu} cannot go offline: {why:?}"))
}

pub(super) fn bring_back(cpu: CpuId) -> Result<(), String> {
    task::online(cpu).map_err(|why| format!("{cpu} cannot come back: {why:?}"))
}

/// Runs `f` while `cpus` are offline. They are back afterwards, also if it fails.
pub(super) fn while_offline<R>(cpus: &[CpuId], f: impl FnOnce() -> Result<R, Stop>) -> Result<R, Stop> {
    let went = cpus.iter().try_for_each(|&cpu| take_offline(cpu));
    let found = went.map_err(Stop::from).and_then(|()| f());
    cpus.iter().try_for_each(|&cpu| bring_back(cpu))?;
    found
}

/// A thread that takes `cpu` offline. It runs on this CPU, when the caller waits.
pub(super) fn start_removal(cpu: CpuId) -> TaskRef {
    // The caller waits for its end, and checks whether the CPU has gone.
    kthread::spawn_on(percpu::cpu_id(), "remover", move || _ = task::offline(cpu))
}

/// Takes `cpu` offline, and holds it at `point` on its way until `f` has posted a call or has
/// returned. Fails unless the CPU went and the first `steps` of the three steps came. The caller
/// brings it back in any case.
pub(super) fn held_on_its_way(
    scene: &mut Scene,
    cpu: CpuId,
    point: Point,
    steps: usize,
    f: impl FnOnce(),
) -> Result<(), Stop> {
    let me = percpu::cpu_id();
    scene.play(script! {
        cpu reaches point;
        me reaches Point::CallPosted;
        cpu leaves point;
    });
    scene.awaits(start_removal(cpu));
    let came = wait_for(|| scene.passed() >= 1);
    f();
    let played = scene.played_first(steps);
    check!(came && !task::is_online(cpu), "the CPU did not come to {point:?}, or did not go");
    played
}

fn refusals() -> Verdict {
    check_eq!(task::offline(CpuId::BOOT), Err(Refused::BootCpu), "the boot CPU goes offline");
    let beyond = CpuId::new(lazy_tlb().nr_cpus());
    check_eq!(task::offline(beyond), Err(Refused::NoSuchCpu), "a CPU that is not there goes offline");
    check_eq!(task::online(beyond), Err(Refused::NoSuchCpu), "a CPU that is not there comes online");
    check_eq!(task::online(CpuId::BOOT), Ok(()), "a CPU that is online comes online");
    let Ok([cpu]) = last_others() else { return Ok(()) };
    while_offline(&[cpu], || {
        check_eq!(task::offline(cpu), Ok(()), "a CPU that is offline goes offline");
        check!(!lazy_tlb().online().contains(cpu), "{cpu} is offline and takes calls");
        Ok(())
    })?;
    check!(lazy_tlb().online().contains(cpu), "{cpu} is back and takes no calls");
    Ok(())
}

/// A running, a runnable and a sleeping task that may run only there go on, and a deadline that was
/// set there comes in time.
fn moves_what_is_there() -> Verdict {
    let [cpu] = last_others()?;
    let stop = Gate::new();
    let spinners = [spinner_on(cpu, &stop), spinner_on(cpu, &stop)];
    let deadline_tb = in_us(200_000);
    let sleeper = start_on(cpu, move || {
        task::sleep_until_tb(deadline_tb);
        timer::now_tb()
    });
    task::sleep_until_tb(in_us(30_000));
    take_offline(cpu)?;
    let woke_tb = sleeper.result();
    let off = spinners.iter().all(|spinner| spinner.cpu() != cpu);
    let wide = spinners.iter().all(|spinner| spinner.affinity() == CpuSet::first(lazy_tlb().nr_cpus()));
    stop.open();
    spinners.iter().for_each(|spinner| spinner.wait_exit());
    // A task that starts while its only CPU is offline still runs.
    start_on(cpu, || ()).result();
    bring_back(cpu)?;
    check!(woke_tb >= deadline_tb, "a sleep ended early");
    check!(off, "a task is still on a CPU that is offline");
    check!(wide, "a task without a CPU may not run everywhere");
    Ok(())
}

/// Work for an offline CPU is done by another one, and by its own again when it is back.
fn work_goes_elsewhere() -> Verdict {
    static RAN_ON: AtomicU64 = AtomicU64::new(u64::MAX);
    let [cpu] = last_others()?;
    let where_work_runs = || {
        work::queue_on(cpu, || RAN_ON.store(percpu::cpu_id().index() as u64, Ordering::Relaxed));
        flush_work();
        RAN_ON.load(Ordering::Relaxed)
    };
    check_eq!(where_work_runs(), cpu.index() as u64, "the CPU of work before");
    let elsewhere = while_offline(&[cpu], || Ok(where_work_runs()))?;
    check_eq!(elsewhere, 0, "the CPU of work while its own is offline");
    check_eq!(where_work_runs(), cpu.index() as u64, "the CPU of work afterwards");
    Ok(())
}

/// The caller runs on the CPU that it takes offline.
fn by_a_task_of_the_cpu() -> Verdict {
    let [cpu] = last_others()?;
    let done = start_on(cpu, move || {
        let gone = task::offline(cpu).is_ok() && percpu::cpu_id() != cpu;
        gone && task::online(cpu).is_ok()
    });
    check!(done.result(), "a task could not take its own CPU offline, or stayed there");
    Ok(())
}

/// A call is posted when its target takes no interrupts any more but is not out of the set yet: the
/// call still runs. A caller that read the set before, and calls when the target has gone, waits
/// for no CPU, and its call leaves nothing behind.
fn call_on_its_way() -> Verdict {
    static RUNS: AtomicU64 = AtomicU64::new(0);
    let [cpu] = last_others()?;
    let call = || {
        let count = |_: u64| _ = RUNS.fetch_add(1, Ordering::Relaxed);
        lazy_tlb().machine.with_preempt_off(|t| call_function(t, &CpuSet::only(cpu), count, 0));
        RUNS.swap(0, Ordering::Relaxed)
    };
    let mut scene = Scene::new();
    let mut posted_before = 0;
    let went = held_on_its_way(&mut scene, cpu, Point::StopCpu, 3, || posted_before = call());
    let posted_after = call();
    bring_back(cpu)?;
    // A call that was left behind would run with this one.
    let after_return = call();
    went?;
    check_eq!(posted_before, 1, "runs of a call that was posted before the stop");
    check_eq!(posted_after, 0, "runs of a call that was posted after the stop");
    check_eq!(after_return, 1, "runs of a call after the return");
    scene.end(&[])
}

/// Interrupts to a CPU that has stopped are lost or spurious. Those after its return arrive.
fn ipi_while_stopped() -> Verdict {
    let [cpu] = last_others()?;
    let controller = irq::controller();
    while_offline(&[cpu], || {
        (0..3).for_each(|_| controller.send_ipi(task::ipi_target_of(cpu)));
        Ok(())
    })?;
    static ARRIVED: AtomicU64 = AtomicU64::new(0);
    let (mut only, before) = (CpuSet::EMPTY, ARRIVED.load(Ordering::Relaxed));
    only.insert(cpu);
    for _ in 0..3 {
        let count = |amount| _ = ARRIVED.fetch_add(amount, Ordering::Relaxed);
        lazy_tlb().machine.with_preempt_off(|t| call_function(t, &only, count, 1));
    }
    check_eq!(ARRIVED.load(Ordering::Relaxed) - before, 3, "calls answered by a CPU that is back");
    Ok(())
}

/// CPUs come and go while tasks on others exit, call all CPUs, and sleep and wake.
fn storm() -> Verdict {
    static CALLS: AtomicU64 = AtomicU64::new(0);
    let [_] = others()?;
    let others = other_cpus();
    // The host runs few CPUs at a time.
    let rounds = (24 / others.len()).max(2);
    let (memory, mms) = (settled_account(), living_mms());
    let stop = Arc::new(AtomicBool::new(false));
    let start = |name: &'static str, body: fn()| {
        let seen = stop.clone();
        kthread::spawn(name, move || {
            while !seen.load(Ordering::Acquire) {
                body();
            }
        })
    };
    let threads = [
        start("exiter", exit_once),
        start("exiter", exit_once),
        start("caller", call_all),
        start("napper", || task::sleep_until_tb(in_us(300))),
        start("tourist", tour),
    ];
    let toggled = (0..rounds).try_for_each(|round| {
        let odd = others.iter().skip(round % 2).step_by(2);
        odd.clone().try_for_each(|&cpu| take_offline(cpu))?;
        odd.rev().try_for_each(|&cpu| bring_back(cpu))
    });
    stop.store(true, Ordering::Release);
    threads.iter().for_each(|thread| thread.wait_exit());
    let missing = others.iter().filter(|&&cpu| task::online(cpu).is_err()).count();
    toggled?;
    check_eq!(missing, 0, "CPUs that did not come back");
    check!(CALLS.load(Ordering::Relaxed) > 0, "nobody was called");
    drop((threads, stop));
    check_account(memory, "the storm")?;
    check_eq!(living_mms(), mms, "mms after the storm");
    return Ok(());

    fn exit_once() {
        let Ok(mm) = new_mm() else { return };
        lazy_tlb().exec_mmap(mm);
        // Away and back: the CPUs that it was on stay lazy on the mm.
        tour();
        lazy_tlb().exit_mm();
        task::yield_now();
    }

    fn call_all() {
        let count = |_: u64| _ = CALLS.fetch_add(1, Ordering::Relaxed);
        lazy_tlb().machine.with_preempt_off(|t| {
            call_function(t, &lazy_tlb().online().without(t.cpu()), count, 0);
        });
        task::yield_now();
    }

    fn tour() {
        for cpu in lazy_tlb().online().iter() {
            // It may have gone since.
            let _ = task::set_affinity(&task::current_ref(), &CpuSet::only(cpu));
        }
        let everywhere = CpuSet::first(lazy_tlb().nr_cpus());
        let _ = task::set_affinity(&task::current_ref(), &everywhere);
    }
}
