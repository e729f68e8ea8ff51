//! The scheduler: hand-offs, sleep, affinity, preemption.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use arch::{percpu, timer};
use kcore::cpu::{CpuId, CpuSet};

use super::stage::{flush_work, in_us, wait_for};
use super::{Test, Verdict, check, check_eq};
use crate::machine::lazy_tlb;
use crate::sync::preempt;
use crate::task::WaitQueue;
use crate::task::{self, kthread};

pub(super) const TESTS: &[Test] = &[
    Test::new("sched_ping_pong", ping_pong),
    Test::new("sched_sleep", sleep),
    Test::new("sched_affinity", affinity),
    Test::new("sched_preempts_a_spinner", preempts_a_spinner),
    Test::new("sched_late_task_goes_on", late_task_goes_on),
    Test::new("sched_work_queue", work_queue),
    Test::new("sched_idle_is_quiet", idle_is_quiet),
];

/// Two threads hand a token to and fro through wait queues: a lost wake-up hangs the test.
fn ping_pong() -> Verdict {
    // The host runs few CPUs at a time, and a hand-off may wait for its turn.
    let rounds = 1000 / lazy_tlb().nr_cpus().max(4) as u32;
    struct Table {
        turn: AtomicU32,
        queue: [WaitQueue; 2],
    }
    let table = Arc::new(Table { turn: AtomicU32::new(0), queue: [WaitQueue::new(), WaitQueue::new()] });
    let last = CpuId::new(lazy_tlb().nr_cpus() - 1);
    let players: [_; 2] = [(0, CpuId::BOOT), (1, last)].map(|(me, cpu)| {
        let table = table.clone();
        kthread::spawn_on(cpu, "ping-pong", move || {
            for _ in 0..rounds {
                table.queue[me].wait_until(|| table.turn.load(Ordering::Acquire) % 2 == me as u32);
                table.turn.fetch_add(1, Ordering::Release);
                table.queue[1 - me].wake_one();
            }
        })
    });
    players.iter().for_each(|player| player.wait_exit());
    check_eq!(table.turn.load(Ordering::Relaxed), 2 * rounds, "hand-offs");
    Ok(())
}

/// A sleeper wakes after its deadline, never before.
fn sleep() -> Verdict {
    for us in [1, 50, 1000, 15_000] {
        let deadline_tb = in_us(us);
        task::sleep_until_tb(deadline_tb);
        check!(timer::now_tb() >= deadline_tb, "a sleep of {us} us ended early");
    }
    Ok(())
}

/// A running thread that is sent to another CPU runs there when the call returns.
fn affinity() -> Verdict {
    let everyone = lazy_tlb().online();
    let tourist = kthread::spawn("tourist", move || {
        for cpu in everyone.iter().chain(everyone.iter()) {
            task::set_affinity(&task::current_ref(), &CpuSet::only(cpu)).expect("an online CPU");
            let here = percpu::cpu_id();
            assert!(here == cpu, "sent to {cpu}, found on {here}");
        }
    });
    tourist.wait_exit();
    // A spinner is moved by another thread.
    static WHERE: AtomicU64 = AtomicU64::new(u64::MAX);
    let stop = Arc::new(AtomicBool::new(false));
    let seen = stop.clone();
    let spinner = kthread::spawn_on(CpuId::BOOT, "spinner", move || {
        while !seen.load(Ordering::Acquire) {
            WHERE.store(percpu::cpu_id().index() as u64, Ordering::Relaxed);
        }
    });
    let last = everyone.iter().last().unwrap_or(CpuId::BOOT);
    task::set_affinity(&spinner, &CpuSet::only(last)).map_err(|_| "the last CPU is offline")?;
    wait_for(|| WHERE.load(Ordering::Relaxed) == last.index() as u64);
    stop.store(true, Ordering::Release);
    spinner.wait_exit();
    check_eq!(WHERE.load(Ordering::Relaxed), last.index() as u64, "where the spinner ended up");
    Ok(())
}

/// Kernel code that never yields does not keep others from its CPU.
fn preempts_a_spinner() -> Verdict {
    let stop = Arc::new(AtomicBool::new(false));
    let seen = stop.clone();
    let cpu = percpu::cpu_id();
    let spinner = kthread::spawn_on(cpu, "spinner", move || {
        let limit_tb = in_us(20_000_000);
        while !seen.load(Ordering::Acquire) {
            assert!(timer::now_tb() < limit_tb, "a spinning thread was not preempted for 20 s");
        }
    });
    let stopper = kthread::spawn_on(cpu, "stopper", move || stop.store(true, Ordering::Release));
    stopper.wait_exit();
    spinner.wait_exit();
    Ok(())
}

/// Every piece of work runs once, in a context that may sleep.
fn work_queue() -> Verdict {
    static DONE: AtomicU32 = AtomicU32::new(0);
    DONE.store(0, Ordering::Relaxed);
    for cpu in lazy_tlb().online().iter() {
        for _ in 0..10 {
            task::work::queue_on(cpu, || {
                task::sleep_until_tb(in_us(1));
                DONE.fetch_add(1, Ordering::Relaxed);
            });
        }
    }
    flush_work();
    check_eq!(DONE.load(Ordering::Relaxed) as usize, 10 * lazy_tlb().nr_cpus(), "pieces of work done");
    Ok(())
}

/// A task whose slice is over while preemption is off makes progress: the end of the slice
/// interrupts it once, not again and again until it goes (hundreds of times, or for ever). A few
/// more interrupts may be alarms, a watchdog's looks, or the end of an earlier slice.
fn late_task_goes_on() -> Verdict {
    const SPIN_US: u64 = 50_000;
    let stay = preempt::disable();
    let before = task::timer::ticks_of(percpu::cpu_id());
    let waiter = kthread::spawn_on(percpu::cpu_id(), "waiter", || ());
    let end_tb = in_us(SPIN_US);
    while timer::now_tb() < end_tb {}
    let ticks = task::timer::ticks_of(percpu::cpu_id()) - before;
    let waits = !waiter.has_exited();
    drop(stay);
    waiter.wait_exit();
    check!(waits, "the waiter ran on the CPU of a task with preemption off");
    check!((1..=10).contains(&ticks), "{ticks} timer interrupts in five slices of a task that may not go");
    Ok(())
}

/// No timer interrupts on idle CPUs: neither slices nor watchdogs tick. Two CPUs may take some, for
/// this thread and the harness's watcher, which sleep. Any other may take one, for an earlier look
/// of its watchdog.
fn idle_is_quiet() -> Verdict {
    const QUIET_US: u64 = 500_000;
    let kernel = lazy_tlb();
    let ticks = || kernel.online().iter().map(task::timer::ticks_of).collect::<alloc::vec::Vec<u64>>();
    let before = ticks();
    task::sleep_until_tb(in_us(QUIET_US));
    let taken: alloc::vec::Vec<u64> = ticks().iter().zip(&before).map(|(now, then)| now - then).collect();
    // What the tests before have left to do ends meanwhile. A CPU with a tick of 10 ms takes 50.
    super::check!(
        taken.iter().all(|&ticks| ticks <= 5),
        "timer interrupts of each CPU in half a second of sleep: {taken:?}"
    );
    Ok(())
}
