//! The CPU that a task goes to, and the sets of CPUs by which it is found.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use arch::percpu;
use kcore::cpu::{CpuId, CpuSet};

use super::gate::expect_rest;
use super::random::{self, Random};
use super::stage::{Helper, move_task, on_cpus, other_cpus, others, start_on, wait_for};
use super::{Test, Verdict, check, check_eq};
use crate::machine::lazy_tlb;
use crate::sync::preempt;
use crate::task::{self, CpuBits, TaskRef, kthread, search};

pub(super) const TESTS: &[Test] = &[
    Test::new("placement_where_it_ran", where_it_ran),
    Test::new("placement_where_it_is_idle", where_it_is_idle),
    Test::new("placement_idle_comes_and_takes", idle_comes_and_takes),
    Test::new("placement_shortest_queue", shortest_queue),
    Test::new("placement_needs_a_cpu", needs_a_cpu),
    Test::new("cpu_bits_of_one_word", bits_of_one_word),
    Test::new("cpu_bits_search", search_of_both),
];

/// A sleeper that records the CPU that it runs on at each wake-up.
struct Sleeper {
    task: TaskRef,
    round: Arc<AtomicU32>,
    ran_on: Arc<AtomicU32>,
}

impl Sleeper {
    /// A sleeper that has run on `cpu`, and may run everywhere.
    fn of(cpu: CpuId) -> Result<Sleeper, String> {
        let (round, ran_on) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(u32::MAX)));
        let (asked, told) = (round.clone(), ran_on.clone());
        let task = kthread::spawn_on(cpu, "test-sleeper", move || {
            let mut rounds = 0;
            while rounds != u32::MAX {
                let queue = crate::task::WaitQueue::new();
                queue.wait_until(|| asked.load(Ordering::Acquire) != rounds);
                rounds = asked.load(Ordering::Acquire);
                told.store(percpu::cpu_id().index() as u32, Ordering::Release);
            }
        });
        let sleeper = Sleeper { task, round, ran_on };
        sleeper.rest()?;
        let everywhere = CpuSet::first(lazy_tlb().nr_cpus());
        task::set_affinity(&sleeper.task, &everywhere).map_err(|_| "no CPU")?;
        Ok(sleeper)
    }

    fn rest(&self) -> Result<(), String> {
        expect_rest(&self.task)
    }

    /// Wakes it. Returns the CPU that it was given.
    fn wake(&self) -> CpuId {
        self.round.fetch_add(1, Ordering::Release);
        self.task.wake();
        // It is queued, runs or sleeps again. Only a thief changes its CPU.
        self.task.cpu()
    }

    /// Wakes it. Returns the CPU that it ran on.
    fn run(&self) -> Result<CpuId, String> {
        self.wake();
        self.rest()?;
        Ok(CpuId::new(self.ran_on.load(Ordering::Acquire) as usize))
    }

    fn end(self) {
        self.round.store(u32::MAX, Ordering::Release);
        self.task.wake();
        self.task.wait_exit();
    }
}

/// Runs `f` while each CPU of `cpus` is kept busy, by one task for each of its entries.
fn while_busy<R>(cpus: &[CpuId], f: impl FnOnce() -> Result<R, String>) -> Result<R, String> {
    let (stop, running) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
    let start = |&cpu| {
        let (stop, running) = (stop.clone(), running.clone());
        start_on(cpu, move || {
            running.fetch_add(1, Ordering::Relaxed);
            while !stop.load(Ordering::Relaxed) {
                core::hint::spin_loop();
            }
        })
    };
    let tasks: Vec<_> = cpus.iter().map(start).collect();
    let all_run = wait_for(|| running.load(Ordering::Relaxed) as usize == cpus.len());
    let found = if all_run { f() } else { Err("a busy CPU does not run its task".into()) };
    stop.store(true, Ordering::Relaxed);
    tasks.iter().for_each(Helper::result);
    found
}

/// A sleeper goes to the CPU that it ran on, if that is idle. In two of ten rounds a housekeeper
/// may be awake there.
fn where_it_ran() -> Verdict {
    let [_, _, cpu] = others()?;
    let sleeper = Sleeper::of(cpu)?;
    let mut stayed = 0;
    for _ in 0..10 {
        let before = sleeper.task.cpu();
        stayed += u32::from(sleeper.run()? == before);
    }
    sleeper.end();
    check!(stayed >= 8, "a sleeper stayed on its idle CPU {stayed} times of ten");
    Ok(())
}

/// A sleeper goes to an idle CPU if its own is busy, and into the queue of its own if all are busy.
fn where_it_is_idle() -> Verdict {
    let [cpu, _, _] = others()?;
    let sleeper = Sleeper::of(cpu)?;
    let elsewhere = while_busy(&[cpu], || sleeper.run())?;
    // It may be on any CPU now. All but the test's own are kept busy.
    let (last, chosen) = while_busy(&other_cpus(), || Ok((sleeper.task.cpu(), sleeper.wake())))?;
    let settled = sleeper.rest();
    sleeper.end();
    settled?;
    check!(elsewhere != cpu, "a sleeper whose CPU is busy was queued there, with others idle");
    check_eq!(chosen, last, "the CPU of a sleeper while all are busy");
    Ok(())
}

/// A task that waits behind one that keeps its CPU is taken by the first CPU that has nothing
/// left to do.
fn idle_comes_and_takes() -> Verdict {
    let [cpu, _, _] = others()?;
    let sleeper = Sleeper::of(cpu)?;
    let rest: Vec<CpuId> = other_cpus().into_iter().filter(|other| *other != cpu).collect();
    let (keeps, release) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let (kept, released) = (keeps.clone(), release.clone());
    let keeper = start_on(cpu, move || {
        let _stay = preempt::disable();
        kept.store(true, Ordering::Relaxed);
        while !released.load(Ordering::Relaxed) {
            core::hint::spin_loop();
        }
    });
    let is_kept = wait_for(|| keeps.load(Ordering::Relaxed));
    let chosen = while_busy(&rest, || Ok(sleeper.wake()));
    let taken = sleeper.rest();
    release.store(true, Ordering::Relaxed);
    keeper.result();
    let ran_on = sleeper.ran_on.load(Ordering::Acquire) as usize;
    sleeper.end();
    check!(is_kept, "no task keeps the CPU");
    check_eq!(chosen?, cpu, "the CPU of a sleeper while all are busy");
    taken?;
    check!(ran_on != cpu.index(), "a sleeper ran on the CPU that another kept");
    Ok(())
}

/// A sleeper that may no longer run on its CPU goes to the shortest queue.
fn shortest_queue() -> Verdict {
    let [long, short, cpu] = others()?;
    let sleeper = Sleeper::of(cpu)?;
    let chosen = |cpus: [CpuId; 2]| {
        let mut both = CpuSet::only(long);
        both.insert(short);
        while_busy(&[cpus[0], cpus[0], cpus[1]], || {
            move_task(&sleeper.task, cpu);
            sleeper.run()?;
            task::set_affinity(&sleeper.task, &both).map_err(|_| "no CPU")?;
            Ok(sleeper.wake())
        })
    };
    let first = chosen([long, short])?;
    sleeper.rest()?;
    let second = chosen([short, long])?;
    sleeper.rest()?;
    sleeper.end();
    check_eq!((first, second), (short, long), "the shorter of two queues, both ways round");
    Ok(())
}

/// A task can be sent neither to no CPU nor to one that does not exist; its affinity stays.
fn needs_a_cpu() -> Verdict {
    let me = task::current_ref();
    let before = me.affinity();
    let beyond = CpuSet::only(CpuId::new(lazy_tlb().nr_cpus()));
    for (set, what) in [(CpuSet::EMPTY, "no CPU"), (beyond, "a CPU that is not there")] {
        check!(task::set_affinity(&me, &set).is_err(), "a task was sent to {what}");
        check_eq!(me.affinity(), before, "the affinity of a task that was to go nowhere");
    }
    Ok(())
}

/// All CPUs change their own bits in one word at once, and none loses another's.
fn bits_of_one_word() -> Verdict {
    static BITS: CpuBits = CpuBits::empty();
    static HERE: AtomicU32 = AtomicU32::new(0);
    HERE.store(0, Ordering::Relaxed);
    let cpus: Vec<CpuId> = lazy_tlb().online().iter().take(4).collect();
    let count = cpus.len() as u32;
    let lost = on_cpus(&cpus, move || {
        let me = percpu::cpu_id();
        HERE.fetch_add(1, Ordering::Relaxed);
        while HERE.load(Ordering::Relaxed) < count {
            task::yield_now();
        }
        let keeps_its_own = || {
            BITS.insert(me);
            let came = BITS.contains(me);
            let went = BITS.take(me) && !BITS.contains(me);
            came && went
        };
        (0..150_000).filter(|_| !keeps_its_own()).count()
    });
    check_eq!(lost.iter().sum::<usize>(), 0, "changes of a bit that another CPU undid");
    check!(BITS.snapshot().is_empty(), "bits that nobody has set");
    Ok(())
}

/// The search for a CPU in two sets, against a search CPU by CPU.
fn search_of_both() -> Verdict {
    let mut random = Random::new(random::seed());
    for _ in 0..300 {
        let nr_cpus = 1 + random.below(200);
        let mut set = || {
            let mut set = CpuSet::EMPTY;
            (0..random.below(4)).for_each(|_| set.insert(CpuId::new(random.below(nr_cpus))));
            set
        };
        let (a, b) = (set(), set());
        let both = if random.below(2) == 0 { a } else { b };
        let start = CpuId::new(random.below(nr_cpus));
        let found = search(|word| a.word(word) & both.word(word), start, nr_cpus, Some);
        let around = (1..=nr_cpus).map(|step| CpuId::new((start.index() + step) % nr_cpus));
        let expected = around.clone().find(|&cpu| a.contains(cpu) && both.contains(cpu));
        check_eq!(found, expected, "the first CPU of two sets behind another");
    }
    Ok(())
}
