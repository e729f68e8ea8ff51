//! CPUs go offline and come back.

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use kcore::cpu::{CpuId, CpuSet};
use kcore::lazy_tlb::Policy;
use kcore::machine::Machine;
use kcore::mm::MmId;
use powerpc64::{percpu, timer};

use super::address_space::{check_account, map_written_page, new_mm, settled_account};
use super::lazy::{Bill, drain_borrows, make_lazy, other_cpus, policy, total};
use super::{Outcome, Test, Verdict, check, check_eq};
use crate::machine::{call_function, lazy_tlb};
use crate::task::{self, Refused, kthread, work};

pub(super) const TESTS: &[Test] = &[
    Test::new("hotplug_refusals", refusals),
    Test::new("hotplug_leaves_no_mask_bit", leaves_no_mask_bit),
    Test::new("hotplug_mm_dies_while_offline", mm_dies_while_offline),
    Test::new("hotplug_init_mm_is_balanced", init_mm_is_balanced),
    Test::new("hotplug_moves_what_is_there", moves_what_is_there),
    Test::new("hotplug_work_goes_elsewhere", work_goes_elsewhere),
    Test::new("hotplug_by_a_task_of_the_cpu", by_a_task_of_the_cpu),
    Test { limit_s: 60, ..Test::new("hotplug_storm", storm) },
];

fn take_offline(cpu: CpuId) -> Result<(), String> {
    task::offline(cpu).map_err(|why| format!("{cpu} cannot go offline: {why:?}"))
}

fn bring_back(cpu: CpuId) -> Result<(), String> {
    task::online(cpu).map_err(|why| format!("{cpu} cannot come back: {why:?}"))
}

/// The CPU that comes and goes in most tests.
fn last_cpu() -> Option<CpuId> {
    other_cpus().last().copied()
}

const ONE_CPU: Verdict = Ok(Outcome::Skip("one CPU"));

fn refusals() -> Verdict {
    check_eq!(task::offline(CpuId::BOOT), Err(Refused::BootCpu), "the boot CPU goes offline");
    let beyond = CpuId::new(lazy_tlb().nr_cpus());
    check_eq!(task::offline(beyond), Err(Refused::NoSuchCpu), "a CPU that is not there goes offline");
    check_eq!(task::online(beyond), Err(Refused::NoSuchCpu), "a CPU that is not there comes online");
    check_eq!(task::online(CpuId::BOOT), Ok(()), "a CPU that is online comes online");
    let Some(cpu) = last_cpu() else { return Ok(Outcome::Pass) };
    take_offline(cpu)?;
    check_eq!(task::offline(cpu), Ok(()), "a CPU that is offline goes offline");
    check!(!lazy_tlb().online().contains(cpu), "{cpu} is offline and takes calls");
    bring_back(cpu)?;
    check!(lazy_tlb().online().contains(cpu), "{cpu} is back and takes no calls");
    Ok(Outcome::Pass)
}

/// T7: a bit that stays would be a flush that nobody makes.
fn leaves_no_mask_bit() -> Verdict {
    let Some(cpu) = last_cpu() else { return ONE_CPU };
    let mms = [new_mm()?, new_mm()?];
    for mm in mms {
        make_lazy(&[cpu], mm);
        check!(
            lazy_tlb().mm(mm).cpumask().test(cpu) || policy() == Policy::Eager,
            "{cpu} was on {mm:?} and is not in its mask"
        );
    }
    take_offline(cpu)?;
    let named: Vec<MmId> =
        lazy_tlb().mms().iter().filter(|mm| mm.cpumask().test(cpu)).map(kcore::mm::Mm::id).collect();
    bring_back(cpu)?;
    check!(named.is_empty(), "{cpu} is offline and in the masks of {named:?}");
    mms.into_iter().for_each(|mm| lazy_tlb().mmput(mm));
    drain_borrows();
    Ok(Outcome::Pass)
}

/// T8: every CPU but this one goes offline while lazy on an mm, which then dies.
fn mm_dies_while_offline() -> Verdict {
    let others = other_cpus();
    if others.is_empty() {
        return ONE_CPU;
    }
    drain_borrows();
    let mm = new_mm()?;
    map_written_page(mm)?;
    make_lazy(&others, mm);
    for &cpu in &others {
        take_offline(cpu)?;
    }
    let before = Bill::now();
    let calls = total(|c| &c.ipi_sent_call);
    lazy_tlb().exec_mmap(mm);
    lazy_tlb().exit_mm();
    let sent = total(|c| &c.ipi_sent_call) - calls;
    drain_borrows();
    let freed = Bill::now().since(before).freed;
    for &cpu in &others {
        bring_back(cpu)?;
    }
    check_eq!(sent, 0, "cross-calls while one CPU is online");
    check_eq!(freed, 1, "mms freed while their lazy CPUs are offline");
    Ok(Outcome::Pass)
}

/// T11: `init_mm`'s count and bits over death and start.
fn init_mm_is_balanced() -> Verdict {
    let Some(cpu) = last_cpu() else { return ONE_CPU };
    let init_mm = lazy_tlb().mm(MmId::INIT_MM);
    // Who borrows it from moment to moment varies, so everybody does.
    drain_borrows();
    let before = init_mm.count();
    for round in 0..3 {
        check!(init_mm.cpumask().test(cpu), "{cpu} is online and not in init_mm's mask");
        take_offline(cpu)?;
        check!(!init_mm.cpumask().test(cpu), "{cpu} is offline and in init_mm's mask");
        check_eq!(lazy_tlb().cpu(cpu).active_mm.get(), MmId::NONE, "what a CPU has that is offline");
        bring_back(cpu)?;
        drain_borrows();
        check_eq!(init_mm.count(), before, format!("init_mm's count after round {round}"));
    }
    Ok(Outcome::Pass)
}

/// A running, a runnable and a sleeping task that may run nowhere else go on, and a
/// deadline that was set there comes in time.
fn moves_what_is_there() -> Verdict {
    let Some(cpu) = last_cpu() else { return ONE_CPU };
    let stop = Arc::new(AtomicBool::new(false));
    let spinner = || {
        let seen = stop.clone();
        kthread::spawn_on(cpu, "spinner", move || {
            while !seen.load(Ordering::Acquire) {
                core::hint::spin_loop();
            }
        })
    };
    let spinners = [spinner(), spinner()];
    static WOKE_TB: AtomicU64 = AtomicU64::new(0);
    let deadline_tb = timer::now_tb() + 200_000 * timer::ticks_per_us();
    let sleeper = kthread::spawn_on(cpu, "sleeper", move || {
        task::sleep_until_tb(deadline_tb);
        WOKE_TB.store(timer::now_tb(), Ordering::Relaxed);
    });
    task::sleep_until_tb(timer::now_tb() + 30_000 * timer::ticks_per_us());
    take_offline(cpu)?;
    sleeper.wait_exit();
    check!(WOKE_TB.load(Ordering::Relaxed) >= deadline_tb, "a sleep ended early");
    let off = spinners.iter().all(|spinner| spinner.cpu() != cpu);
    let wide = spinners.iter().all(|spinner| spinner.affinity() == CpuSet::first(lazy_tlb().nr_cpus()));
    stop.store(true, Ordering::Release);
    spinners.iter().for_each(|spinner| spinner.wait_exit());
    // One that starts while its CPU is offline runs all the same.
    let born = kthread::spawn_on(cpu, "newborn", || {});
    born.wait_exit();
    bring_back(cpu)?;
    check!(off, "a task is still on a CPU that is offline");
    check!(wide, "a task without a CPU may not run everywhere");
    Ok(Outcome::Pass)
}

/// Work for a CPU that is offline is done by another one, and by its own again later.
fn work_goes_elsewhere() -> Verdict {
    static RAN_ON: AtomicU64 = AtomicU64::new(u64::MAX);
    let Some(cpu) = last_cpu() else { return ONE_CPU };
    let where_work_runs = || {
        work::queue_on(cpu, || RAN_ON.store(percpu::cpu_id().index() as u64, Ordering::Relaxed));
        work::flush();
        RAN_ON.load(Ordering::Relaxed)
    };
    check_eq!(where_work_runs(), cpu.index() as u64, "the CPU of work before");
    take_offline(cpu)?;
    let while_offline = where_work_runs();
    bring_back(cpu)?;
    check_eq!(while_offline, 0, "the CPU of work while its own is offline");
    check_eq!(where_work_runs(), cpu.index() as u64, "the CPU of work afterwards");
    Ok(Outcome::Pass)
}

/// The caller runs where nobody may run any longer.
fn by_a_task_of_the_cpu() -> Verdict {
    static DONE: AtomicBool = AtomicBool::new(false);
    let Some(cpu) = last_cpu() else { return ONE_CPU };
    let caller = kthread::spawn_on(cpu, "suicide", move || {
        let gone = task::offline(cpu).is_ok() && percpu::cpu_id() != cpu;
        DONE.store(gone && task::online(cpu).is_ok(), Ordering::Release);
    });
    caller.wait_exit();
    check!(DONE.load(Ordering::Acquire), "a task could not take its own CPU offline, or stayed there");
    Ok(Outcome::Pass)
}

/// CPUs come and go while others exit, call each other, and sleep and wake.
fn storm() -> Verdict {
    static CALLS: AtomicU64 = AtomicU64::new(0);
    let others = other_cpus();
    if others.is_empty() {
        return ONE_CPU;
    }
    // A host runs few CPUs at a time.
    let rounds = (24 / others.len()).max(2);
    let (memory, mms) = (settled_account(), living());
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
        start("napper", || task::sleep_until_tb(timer::now_tb() + 300 * timer::ticks_per_us())),
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
    check_eq!(living(), mms, "mms after the storm");
    return Ok(Outcome::Pass);

    fn exit_once() {
        let Ok(mm) = new_mm() else { return };
        lazy_tlb().exec_mmap(mm);
        // Away and back: the CPUs it was on stay lazy on it.
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

    fn living() -> usize {
        drain_borrows();
        lazy_tlb().mms().iter().filter(|mm| mm.id().is_some()).count()
    }
}
