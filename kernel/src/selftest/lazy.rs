//! The protocol on the real machine: what each policy owes.

use alloc::string::String;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use kcore::cpu::CpuId;
use kcore::lazy_tlb::Policy;
use kcore::machine::Point;
use kcore::mm::MmId;

use super::stage::{
    Bill, drain_borrows, flush_work, lazies_of, make_lazy, move_to, new_mm_with_page, other_cpus, policy,
    shoots, total, wait_for, wind_trim_clock,
};
use super::{Outcome, Test, Verdict, check, check_eq, points};
use crate::machine::lazy_tlb;
use crate::sync::WaitQueue;
use crate::task::{kthread, work};

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
    static RETURNS: AtomicU64 = AtomicU64::new(0);
    static LOADS: AtomicU64 = AtomicU64::new(0);
    let kernel = lazy_tlb();
    let Some(&cpu) = other_cpus().first() else { return Ok(Outcome::Skip("one CPU")) };
    drain_borrows();
    let mm = new_mm_with_page()?;
    let counted = move || {
        let counters = &kernel.cpu(cpu).counters;
        (counters.lazy_same_mm.get(), counters.pidr_writes.get())
    };
    STAGE.store(0, Ordering::Relaxed);
    let sleeper = kthread::spawn_on(cpu, "test-sleeper", move || {
        kernel.exec_mmap(mm);
        let (same_before, loads_before) = counted();
        STAGE.store(1, Ordering::Release);
        QUEUE.wait_until(|| STAGE.load(Ordering::Acquire) == 2);
        let (same_after, loads_after) = counted();
        RETURNS.store(same_after - same_before, Ordering::Relaxed);
        LOADS.store(loads_after - loads_before, Ordering::Relaxed);
        kernel.exit_mm();
    });
    let sleeps = wait_for(|| STAGE.load(Ordering::Acquire) == 1 && kernel.cpu(cpu).curr_mm.peek().is_none());
    STAGE.store(2, Ordering::Release);
    QUEUE.wake_one();
    sleeper.wait_exit();
    drain_borrows();
    check!(sleeps, "the task never slept");
    let (returns, loads) = (RETURNS.load(Ordering::Relaxed), LOADS.load(Ordering::Relaxed));
    if policy() == Policy::Eager {
        check_eq!((returns, loads), (0, 2), "eager: returns to a borrowed mm, loads of PIDR");
    } else {
        check_eq!((returns, loads), (1, 0), "lazy: returns to a borrowed mm, loads of PIDR");
    }
    Ok(Outcome::Pass)
}

fn exit_others_lazy() -> Verdict {
    exit_with_lazies(new_mm_with_page()?)
}

/// docs/lazy-tlb.md#per-policy-an-exit-that-finds-all-other-cpus-lazy.
pub(super) fn exit_with_lazies(mm: MmId) -> Verdict {
    let others = other_cpus();
    let n = others.len() as u64;
    drain_borrows();
    let whole = Bill::now();
    make_lazy(&others, mm);
    let borrowers = if policy() == Policy::Eager { 0 } else { others.len() };
    check_eq!(lazies_of(mm), borrowers, "CPUs lazy on the mm before its exit");
    let before = Bill::now();
    wind_trim_clock();
    lazy_tlb().exec_mmap(mm);
    lazy_tlb().exit_mm();
    let bill = Bill::now().since(before);
    match policy() {
        Policy::Eager => {
            check_eq!(
                (bill.exit_kick, bill.shot_ipi, bill.freed),
                (0, 0, 1),
                "eager: kicks, shots, freed in the exit"
            );
        }
        Policy::Refcount => {
            check_eq!(
                (bill.exit_kick, bill.shot_ipi, bill.freed),
                (0, 0, 0),
                "refcount: kicks, shots, freed in the exit"
            );
            check_eq!(lazy_tlb().mm(mm).count() as u64, n + 1, "refcount: borrows of the zombie");
            check!(bill.count_rmw > 0, "refcount: mm_count was never changed");
        }
        Policy::Hazard => {
            check_eq!(
                (bill.exit_kick, bill.shot_ipi, bill.freed),
                (0, n, 1),
                "hazard: kicks, shots, freed in the exit"
            );
            check_eq!(bill.shot_self, 1, "hazard: shots at itself");
        }
        Policy::Shootdown => {
            check_eq!(
                (bill.exit_kick, bill.shot_ipi, bill.freed),
                (n, 0, 1),
                "shootdown: kicks, shots, freed in the exit"
            );
            check_eq!(bill.shot_self, 1, "shootdown: shots at itself");
        }
    }
    drain_borrows();
    check_eq!(Bill::now().since(whole).freed, 1, "mms freed once borrows are drained");
    Ok(Outcome::Pass)
}

/// The CPU that the exiting task is moved to, and back from, by the hooks below.
fn move_to_cpu_1() {
    move_to(CpuId::new(1));
}

/// The exiting task moves after its borrow began: the CPU it left stays lazy, and
/// is kicked from where it went.
fn exit_migrated_before_mmput() -> Verdict {
    if other_cpus().is_empty() {
        return Ok(Outcome::Skip("one CPU"));
    }
    let bill = exit_with_move(Point::ExitMmBorrowed)?;
    if shoots() {
        let kicks = u64::from(policy() == Policy::Shootdown);
        check_eq!(
            (bill.exit_kick, bill.shot_ipi, bill.shot_self),
            (kicks, 1 - kicks, 0),
            "kicks, shots, shots at itself"
        );
    }
    Ok(Outcome::Pass)
}

/// Exits on CPU 0 with a move to CPU 1 at `point`; what it cost.
pub(super) fn exit_with_move(point: Point) -> Result<Bill, String> {
    drain_borrows();
    let mm = new_mm_with_page()?;
    let before = Bill::now();
    wind_trim_clock();
    lazy_tlb().exec_mmap(mm);
    points::arm(point, move_to_cpu_1);
    lazy_tlb().exit_mm();
    let bill = Bill::now().since(before);
    move_to(CpuId::BOOT);
    // Under refcount the last drop, and so its point, comes with the drain.
    check!(points::times_reached() == 1 || policy() == Policy::Refcount, "the exit never came to {point:?}");
    points::disarm();
    drain_borrows();
    check_eq!(Bill::now().since(before).freed, 1, "mms freed once borrows are drained");
    Ok(bill)
}

/// The thread's own reference is the last, given back while it is lazy on the mm:
/// under shootdown it shoots itself.
fn unuse_is_last() -> Verdict {
    let kernel = lazy_tlb();
    drain_borrows();
    let mm = new_mm_with_page()?;
    let before = Bill::now();
    kernel.kthread_use_mm(mm);
    // The users go while the thread uses it, as a process's exit can.
    work::queue(move || lazy_tlb().mmput(mm));
    flush_work();
    check_eq!(Bill::now().since(before).freed, 0, "mms freed while one is in use");
    kernel.kthread_unuse_mm(mm);
    let bill = Bill::now().since(before);
    check_eq!(bill.shot_self, u64::from(shoots()), "shots at itself");
    drain_borrows();
    check_eq!(Bill::now().since(before).freed, 1, "mms freed");
    Ok(Outcome::Pass)
}

/// What the whole run so far says about the policy.
fn ledger_of_the_run() -> Verdict {
    // So that there is something in it if no other test ran.
    exit_others_lazy()?;
    let (rmw, lazy) = (total(|c| &c.mm_count_rmw), total(|c| &c.lazy_enter));
    let (kicks, shots) = (total(|c| &c.exit_kick), total(|c| &c.shot_ipi) + total(|c| &c.shot_self));
    let smp = lazy_tlb().nr_cpus() > 1;
    match policy() {
        Policy::Eager => {
            check_eq!((lazy, rmw, kicks, shots), (0, 0, 0, 0), "eager: borrows, counts, kicks, shots");
        }
        Policy::Refcount => {
            check_eq!((kicks, shots), (0, 0), "refcount: kicks, shots");
            check!(rmw > 0 && lazy > 0, "refcount: {rmw} counts of {lazy} borrows");
        }
        Policy::Hazard => {
            check_eq!((rmw, kicks), (0, 0), "hazard: atomic changes of mm_count, kicks");
            check!(shots > 0 && lazy > 0, "hazard: {shots} shots, {lazy} borrows");
        }
        Policy::Shootdown => {
            check_eq!(rmw, 0, "shootdown: atomic changes of mm_count by the switch");
            check!(shots > 0 && (kicks > 0 || !smp), "shootdown: {kicks} kicks, {shots} shots");
        }
    }
    Ok(Outcome::Pass)
}
