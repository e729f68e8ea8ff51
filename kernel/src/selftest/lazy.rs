//! The protocol on the real machine: the duties of each policy.

use alloc::format;
use core::sync::atomic::{AtomicU32, Ordering};

use kcore::machine::Point;
use kcore::mm::MmId;

use super::hook::arm;
use super::scene::{Counts, Scene};
use super::stage::{
    drain_borrows, flush_work, lazies_of, make_lazy, move_to, other_cpus, owes, run_and_exit, start_on,
    total, wait_for, wind_trim_clock,
};
use super::{Test, Verdict, check, check_eq};
use crate::machine::lazy_tlb;
use crate::task::WaitQueue;
use crate::task::work;

pub(super) const TESTS: &[Test] = &[
    Test::new("lazy_return_to_same_mm", return_to_same_mm),
    Test::of_untrimmed("lazy_exit_others_lazy", exit_others_lazy),
    Test::new("lazy_exit_migrated_before_mmput", exit_migrated_before_mmput),
    Test::new("use_mm_unuse_is_last", unuse_is_last),
    Test::of_untrimmed("lazy_ledger_of_the_run", ledger_of_the_run),
];

/// A task that sleeps and wakes on its CPU finds its mm still loaded.
fn return_to_same_mm() -> Verdict {
    /// 1: the task is about to sleep. 2: it may go on.
    static STAGE: AtomicU32 = AtomicU32::new(0);
    static QUEUE: WaitQueue = WaitQueue::new();
    let (mut scene, _, [cpu]) = Scene::with()?;
    let mm = scene.mm()?;
    STAGE.store(0, Ordering::Relaxed);
    let sleeper = start_on(cpu, move || {
        let counters = &lazy_tlb().cpu(cpu).counters;
        lazy_tlb().exec_mmap(mm);
        let (same, loads) = (counters.lazy_same_mm.get(), counters.pidr_writes.get());
        STAGE.store(1, Ordering::Release);
        QUEUE.wait_until(|| STAGE.load(Ordering::Acquire) == 2);
        let since = (counters.lazy_same_mm.get() - same, counters.pidr_writes.get() - loads);
        lazy_tlb().exit_mm();
        since
    });
    let is_away = || lazy_tlb().cpu(cpu).curr_mm.peek().is_none();
    let sleeps = wait_for(|| STAGE.load(Ordering::Acquire) == 1 && is_away());
    STAGE.store(2, Ordering::Release);
    QUEUE.wake_one();
    let (returns, loads) = sleeper.result();
    check!(sleeps, "the task never slept");
    check_eq!(returns, owes().borrowed(1), "returns to a borrowed mm");
    check_eq!(loads, 2 - owes().borrowed(2), "loads of PIDR");
    scene.end(&[])
}

fn exit_others_lazy() -> Verdict {
    let mut scene = Scene::new();
    let mm = scene.mm()?;
    exit_with_lazies(scene, mm)
}

/// Each policy's cost of the exit of `mm` with every other CPU lazy:
/// docs/lazy-tlb.md#per-policy-an-exit-that-finds-all-other-cpus-lazy.
pub(super) fn exit_with_lazies(scene: Scene, mm: MmId) -> Verdict {
    let others = other_cpus();
    let lazy = others.len() as u64;
    // This CPU may be lazy on it since it wrote the page.
    drain_borrows();
    make_lazy(&others, mm);
    check_eq!(lazies_of(mm) as u64, owes().borrowed(lazy), "CPUs lazy on the mm before its exit");
    let changes = || total(|c| &c.mm_count_rmw);
    let changes_before = changes();
    wind_trim_clock();
    run_and_exit(mm);
    scene.expect(Counts {
        freed: 1 - owes().lingering(1),
        exit_kick: owes().kicked(lazy),
        shot_ipi: owes().shot_unkicked(lazy),
        shot_self: owes().shot(1),
    })?;
    check_eq!(changes() > changes_before, owes().counts, "whether mm_count was changed for a borrow");
    if owes().lingers {
        let borrows = owes().counted(lazy + 1);
        check_eq!(lazy_tlb().mm(mm).count() as u64, borrows, "borrows of the zombie");
    }
    scene.end(&[])
}

/// The exiting task moves after its borrow began: the CPU that it left stays lazy, and is kicked
/// from the new one.
fn exit_migrated_before_mmput() -> Verdict {
    let (exit_kick, shot_ipi) = (owes().kicked(1), owes().shot_unkicked(1));
    exit_with_move(Point::ExitMmBorrowed, Counts { exit_kick, shot_ipi, ..Counts::ZERO })
}

/// Exits here with a move to another CPU at `point`; fails unless that cost `sent`, and
/// freed the mm if the policy frees one at once.
pub(super) fn exit_with_move(point: Point, sent: Counts) -> Verdict {
    let (mut scene, me, [other]) = Scene::with()?;
    let mm = scene.mm()?;
    wind_trim_clock();
    lazy_tlb().exec_mmap(mm);
    let moves = arm(point, move || move_to(other));
    lazy_tlb().exit_mm();
    let cost = scene.cost();
    move_to(me);
    // Where an mm lingers, the last drop comes with the drain, and so does its point.
    check!(moves.found().is_some() || owes().lingers, "the exit never came to {point:?}");
    drop(moves);
    check_eq!(cost, Counts { freed: 1 - owes().lingering(1), ..sent }, "the cost of the exit");
    scene.end(&[])
}

/// The thread's own reference is the last, given back while it is lazy on the mm: a
/// policy that shoots shoots the thread's own CPU.
fn unuse_is_last() -> Verdict {
    let mut scene = Scene::new();
    let mm = scene.mm()?;
    lazy_tlb().kthread_use_mm(mm);
    // The users go while the thread uses it, as at a process's exit.
    work::queue(move || lazy_tlb().mmput(mm));
    flush_work();
    check_eq!(scene.cost().freed, 0, "mms freed while one is in use");
    lazy_tlb().kthread_unuse_mm(mm);
    check_eq!(scene.cost().shot_self, owes().shot(1), "shots at itself");
    scene.end(&[])
}

/// The counters of the whole run so far, against the policy.
fn ledger_of_the_run() -> Verdict {
    // This gives the counters something to count if no other test ran.
    exit_others_lazy()?;
    let smp = lazy_tlb().nr_cpus() > 1;
    let shots = total(|c| &c.shot_ipi) + total(|c| &c.shot_self);
    for (what, count, owed) in [
        ("borrows", total(|c| &c.lazy_enter), owes().borrows),
        ("changes of mm_count by the switch", total(|c| &c.mm_count_rmw), owes().counts),
        ("kicks", total(|c| &c.exit_kick), owes().kicks && smp),
        ("shots", shots, owes().shoots),
    ] {
        check_eq!(count > 0, owed, format!("whether the run had any {what} ({count})"));
    }
    Ok(())
}
