//! Turns: runnable tasks, waiters, alarms and work keep their order, and none starves.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, Ordering};

use arch::timer;
use kcore::cpu::CpuId;

use super::gate::expect_rest;
use super::stage::{flush_work, last_others, wait_for};
use super::{Test, Verdict, check, check_eq};
use crate::sync::SpinLock;
use crate::task::WaitQueue;
use crate::task::{self, kthread, work};

pub(super) const TESTS: &[Test] = &[
    Test { limit_s: 20, ..Test::new("turns_go_round", go_round) },
    Test::new("turns_end_by_themselves", end_by_themselves),
    Test::new("turns_of_waiters", of_waiters),
    Test::new("turns_of_alarms", of_alarms),
    Test::new("turns_of_work", of_work),
];

/// The order of turns. The room is made before: nothing is allocated under the lock.
type Log = SpinLock<Vec<usize>>;

fn new_log() -> Arc<Log> {
    Arc::new(SpinLock::new("a log of turns", Vec::with_capacity(64)))
}

/// Another CPU than the test's, if there is one.
fn a_cpu() -> CpuId {
    last_others().map_or(CpuId::BOOT, |[cpu]| cpu)
}

/// Three tasks that yield take turns: when the first has had all its turns, the others have had as
/// many, but for a few lost to the timer.
fn go_round() -> Verdict {
    const TURNS: u32 = 60;
    let turns = Arc::new([const { AtomicU32::new(0) }; 3]);
    let fewest = Arc::new(AtomicU32::new(u32::MAX));
    let here = Arc::new(AtomicU32::new(0));
    let players: Vec<_> = (0..3)
        .map(|me| {
            let (turns, fewest, here) = (turns.clone(), fewest.clone(), here.clone());
            kthread::spawn_on(a_cpu(), "test-player", move || {
                here.fetch_add(1, Ordering::Relaxed);
                while here.load(Ordering::Relaxed) < 3 {
                    task::yield_now();
                }
                for _ in 0..TURNS {
                    turns[me].fetch_add(1, Ordering::Relaxed);
                    task::yield_now();
                }
                let least = turns.iter().map(|turns| turns.load(Ordering::Relaxed)).min();
                fewest.fetch_min(least.unwrap_or(0), Ordering::Relaxed);
            })
        })
        .collect();
    players.iter().for_each(|player| player.wait_exit());
    let fewest = fewest.load(Ordering::Relaxed);
    check!(fewest >= TURNS - 20, "one of three had {fewest} turns when another had had {TURNS}");
    Ok(())
}

/// Three tasks that never yield take turns: the end of the slice sends each away several times.
fn end_by_themselves() -> Verdict {
    const TURNS: u32 = 4;
    let turns = Arc::new([const { AtomicU32::new(0) }; 3]);
    let (last, stop) = (Arc::new(AtomicU32::new(u32::MAX)), Arc::new(AtomicU32::new(0)));
    let spinners: Vec<_> = (0..3)
        .map(|me| {
            let (turns, last, stop) = (turns.clone(), last.clone(), stop.clone());
            kthread::spawn_on(a_cpu(), "test-spinner", move || {
                while stop.load(Ordering::Relaxed) == 0 {
                    if last.swap(me as u32, Ordering::Relaxed) != me as u32 {
                        turns[me].fetch_add(1, Ordering::Relaxed);
                    }
                }
            })
        })
        .collect();
    let all_had = wait_for(|| turns.iter().all(|turns| turns.load(Ordering::Relaxed) >= TURNS));
    stop.store(1, Ordering::Relaxed);
    spinners.iter().for_each(|spinner| spinner.wait_exit());
    check!(all_had, "turns of three tasks that never yield: {turns:?}");
    Ok(())
}

/// Waiters are woken in the order in which they came; `wake_one` wakes one and disturbs no other.
fn of_waiters() -> Verdict {
    struct Room {
        queue: WaitQueue,
        /// How many may go.
        tickets: AtomicU32,
        looks: [AtomicU32; 5],
    }
    let queue = WaitQueue::new();
    let room = Arc::new(Room { queue, tickets: AtomicU32::new(0), looks: Default::default() });
    let mut waiters = Vec::new();
    for me in 0..5 {
        let room = room.clone();
        let waiter = kthread::spawn_on(a_cpu(), "test-waiter", move || {
            room.queue.wait_until(|| {
                room.looks[me].fetch_add(1, Ordering::Relaxed);
                let one_less = |n: u32| n.checked_sub(1);
                room.tickets.fetch_update(Ordering::Acquire, Ordering::Relaxed, one_less).is_ok()
            });
        });
        expect_rest(&waiter)?;
        waiters.push(waiter);
    }
    let looks = || room.looks.each_ref().map(|looks| looks.load(Ordering::Relaxed));
    for me in 0..3 {
        let before = looks();
        room.tickets.store(1, Ordering::Release);
        room.queue.wake_one();
        check!(wait_for(|| waiters[me].has_exited()), "waiter {me}, the first, was not woken");
        check_eq!(looks()[me + 1..], before[me + 1..], "looks of those who were not woken");
    }
    room.tickets.store(2, Ordering::Release);
    room.queue.wake_all();
    let all_went = waiters.iter().all(|waiter| wait_for(|| waiter.has_exited()));
    check!(all_went, "not all who waited were woken");
    Ok(())
}

/// Sleepers of one CPU wake in the order of their deadlines, not of their arrival.
fn of_alarms() -> Verdict {
    // On a crowded host a sleeper may set its alarm too late: then the test tries again with
    // more time. Alarms that ring at once still ring in their order.
    let mut orders = [4, 40, 400].iter().map(|ms| order_of_alarms(ms * 1000 * timer::ticks_per_us()));
    let order = orders.find_map(|order| order).ok_or("sleepers do not set their alarms within 800 ms")?;
    check_eq!(order, [1, 3, 0, 2, 4], "sleepers in the order of their wake-ups");
    Ok(())
}

/// Five tasks set alarms, this many ticks apart. Returns the order in which they rang, unless
/// one was set after the first was due.
fn order_of_alarms(step_tb: u64) -> Option<Vec<usize>> {
    const PLACES: [u64; 5] = [3, 1, 4, 2, 5];
    let log = new_log();
    let base_tb = timer::now_tb() + 2 * step_tb;
    let sleepers: Vec<_> = PLACES
        .iter()
        .enumerate()
        .map(|(me, place)| {
            let (log, deadline_tb) = (log.clone(), base_tb + place * step_tb);
            kthread::spawn_on(a_cpu(), "test-sleeper", move || {
                task::sleep_until_tb(deadline_tb);
                log.lock().push(me);
            })
        })
        .collect();
    let all_rest = sleepers.iter().all(|task| wait_for(|| task.is_at_rest() || task.has_exited()));
    let in_time = all_rest && timer::now_tb() < base_tb;
    sleepers.iter().for_each(|sleeper| sleeper.wait_exit());
    in_time.then(|| log.lock().clone())
}

/// Work of one CPU is done in the order in which it came.
fn of_work() -> Verdict {
    let log = new_log();
    for number in 0..20 {
        let log = log.clone();
        work::queue_on(a_cpu(), move || log.lock().push(number));
    }
    flush_work();
    let done = log.lock().clone();
    check_eq!(done, (0..20).collect::<Vec<usize>>(), "the order of the work");
    Ok(())
}
