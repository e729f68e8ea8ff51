//! The protocol on the real machine: what each policy owes.
//!
//! A kernel thread can own an address space like a user task (`exec_mmap`) and
//! give it up like one (`exit_mm`), so these tests put every CPU exactly into the
//! state that they want, without a user program.

use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

use kcore::counters::Counters;
use kcore::cpu::{CpuId, CpuSet};
use kcore::lazy_tlb::Policy;
use kcore::machine::{Machine, Point};
use kcore::mm::MmId;
use kcore::sync::Counter;

use super::address_space::{map_written_page, new_mm};
use super::{Outcome, Test, Verdict, check, check_eq, points};
use crate::machine::lazy_tlb;
use crate::task::{self, kthread};

pub(super) const TESTS: &[Test] = &[
    Test::new("lazy_return_to_same_mm", return_to_same_mm),
    Test::new("lazy_exit_others_lazy", exit_others_lazy),
    Test::new("lazy_exit_migrated_before_mmput", exit_migrated_before_mmput),
    Test::new("use_mm_unuse_is_last", unuse_is_last),
    Test::new("lazy_ledger_of_the_run", ledger_of_the_run),
];

/// A counter's sum over all CPUs.
pub(super) fn total(counter: fn(&Counters) -> &Counter) -> u64 {
    lazy_tlb().cpus().iter().map(|cpu| counter(&cpu.counters).get()).sum()
}

/// What the counters that the policies argue about said at one moment.
#[derive(Clone, Copy)]
pub(super) struct Bill {
    pub(super) freed: u64,
    pub(super) exit_kick: u64,
    shot_ipi: u64,
    shot_self: u64,
    count_rmw: u64,
}

impl Bill {
    pub(super) fn now() -> Bill {
        Bill {
            freed: total(|c| &c.mm_freed),
            exit_kick: total(|c| &c.exit_kick),
            shot_ipi: total(|c| &c.shot_ipi),
            shot_self: total(|c| &c.shot_self),
            count_rmw: total(|c| &c.mm_count_rmw),
        }
    }

    pub(super) fn since(self, before: Bill) -> Bill {
        Bill {
            freed: self.freed - before.freed,
            exit_kick: self.exit_kick - before.exit_kick,
            shot_ipi: self.shot_ipi - before.shot_ipi,
            shot_self: self.shot_self - before.shot_self,
            count_rmw: self.count_rmw - before.count_rmw,
        }
    }
}

pub(super) fn policy() -> Policy {
    lazy_tlb().config().policy
}

/// Whether borrowers are sent away rather than counted.
fn shoots() -> bool {
    matches!(policy(), Policy::Shootdown | Policy::Hazard)
}

pub(super) fn other_cpus() -> Vec<CpuId> {
    lazy_tlb().machine.with_preempt_off(|t| lazy_tlb().online().without(t.cpu()).iter().collect())
}

/// Runs `f` in a kernel thread on each of `cpus`, at once, and waits for them.
pub(super) fn on_cpus(cpus: &[CpuId], f: impl Fn() + Send + Copy + 'static) {
    let threads: Vec<_> = cpus.iter().map(|&cpu| kthread::spawn_on(cpu, "test-helper", f)).collect();
    threads.iter().for_each(|thread| thread.wait_exit());
}

/// Leaves each of `cpus` lazy on `mm` (or on `init_mm`, under eager), as a thread
/// of its process does that exits there.
pub(super) fn make_lazy(cpus: &[CpuId], mm: MmId) {
    cpus.iter().for_each(|_| lazy_tlb().mmget(mm));
    on_cpus(cpus, move || {
        lazy_tlb().exec_mmap(mm);
        lazy_tlb().exit_mm();
    });
}

/// Makes every CPU borrow `init_mm`, so that all borrows of others end.
pub(super) fn drain_borrows() {
    let everyone: Vec<CpuId> = lazy_tlb().online().iter().collect();
    on_cpus(&everyone, || {
        lazy_tlb().kthread_use_mm(MmId::INIT_MM);
        lazy_tlb().kthread_unuse_mm(MmId::INIT_MM);
    });
}

/// An address space with one page that was written.
pub(super) fn new_mm_with_page() -> Result<MmId, alloc::string::String> {
    let mm = new_mm()?;
    map_written_page(mm)?;
    Ok(mm)
}

pub(super) fn lazies_of(mm: MmId) -> usize {
    lazy_tlb().cpus().iter().filter(|cpu| cpu.active_mm.get() == mm && cpu.curr_mm.get().is_none()).count()
}

/// A task that sleeps and wakes on its CPU finds its mm still loaded.
fn return_to_same_mm() -> Verdict {
    let kernel = lazy_tlb();
    let Some(&cpu) = other_cpus().first() else { return Ok(Outcome::Skip("one CPU")) };
    drain_borrows();
    let mm = new_mm_with_page()?;
    let counted = |cpu: CpuId| {
        let counters = &kernel.cpu(cpu).counters;
        (counters.lazy_same_mm.get(), counters.pidr_writes.get())
    };
    static RETURNS: AtomicU64 = AtomicU64::new(0);
    static LOADS: AtomicU64 = AtomicU64::new(0);
    on_cpus(&[cpu], move || {
        kernel.exec_mmap(mm);
        let (same_before, loads_before) = counted(cpu);
        task::sleep_until_tb(powerpc64::timer::now_tb() + 1000 * powerpc64::timer::ticks_per_us());
        let (same_after, loads_after) = counted(cpu);
        RETURNS.store(same_after - same_before, Ordering::Relaxed);
        LOADS.store(loads_after - loads_before, Ordering::Relaxed);
        kernel.exit_mm();
    });
    drain_borrows();
    let (returns, loads) = (RETURNS.load(Ordering::Relaxed), LOADS.load(Ordering::Relaxed));
    if policy() == Policy::Eager {
        check_eq!((returns, loads), (0, 2), "eager: returns to a borrowed mm, loads of PIDR");
    } else {
        check_eq!((returns, loads), (1, 0), "lazy: returns to a borrowed mm, loads of PIDR");
    }
    Ok(Outcome::Pass)
}

/// The last thread exits while it is itself the only borrower (T13).
pub(super) fn exit_alone() -> Verdict {
    drain_borrows();
    let mm = new_mm_with_page()?;
    let before = Bill::now();
    lazy_tlb().exec_mmap(mm);
    lazy_tlb().exit_mm();
    let bill = Bill::now().since(before);
    check_eq!(bill.shot_ipi + bill.exit_kick, 0, "IPIs");
    check_eq!(bill.shot_self, u64::from(shoots()), "shots at itself");
    check_eq!(bill.freed, u64::from(policy() != Policy::Refcount), "mms freed in the exit");
    drain_borrows();
    check_eq!(Bill::now().since(before).freed, 1, "mms freed once borrows are drained");
    Ok(Outcome::Pass)
}

fn exit_others_lazy() -> Verdict {
    exit_with_lazies(new_mm_with_page()?)
}

/// An mm that never had a page (T15): nothing was mapped, but it was loaded.
pub(super) fn exit_without_pages() -> Verdict {
    exit_with_lazies(new_mm()?)
}

/// The table "Per policy": an exit with every other CPU lazy.
fn exit_with_lazies(mm: MmId) -> Verdict {
    let others = other_cpus();
    let n = others.len() as u64;
    drain_borrows();
    let whole = Bill::now();
    make_lazy(&others, mm);
    let borrowers = if policy() == Policy::Eager { 0 } else { others.len() };
    check_eq!(lazies_of(mm), borrowers, "CPUs lazy on the mm before its exit");
    let before = Bill::now();
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

pub(super) fn move_to(cpu: CpuId) {
    move_task(&task::current_ref(), cpu);
}

/// Has `task` run on `cpu` only, from the next moment on at which it may be moved.
pub(super) fn move_task(task: &task::Task, cpu: CpuId) {
    task::set_affinity(task, &CpuSet::only(cpu)).expect("a test moves to a CPU that is offline");
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

/// The exiting task moves after the final flush (T14): nobody kicked the CPU that
/// it left, so `__mmdrop` must find it.
pub(super) fn exit_migrated_before_mmdrop() -> Verdict {
    if other_cpus().is_empty() {
        return Ok(Outcome::Skip("one CPU"));
    }
    let bill = exit_with_move(Point::MmdropLast)?;
    if shoots() {
        check_eq!(
            (bill.exit_kick, bill.shot_ipi, bill.shot_self),
            (0, 1, 0),
            "kicks, shots, shots at itself"
        );
    }
    Ok(Outcome::Pass)
}

/// Exits on CPU 0 with a move to CPU 1 at `point`; what it cost.
fn exit_with_move(point: Point) -> Result<Bill, alloc::string::String> {
    drain_borrows();
    let mm = new_mm_with_page()?;
    let before = Bill::now();
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

/// The last reference goes on a CPU that never had the mm (T16).
pub(super) fn outsider_drops_last() -> Verdict {
    let others = other_cpus();
    let Some(&other) = others.first() else { return Ok(Outcome::Skip("one CPU")) };
    drain_borrows();
    let mm = new_mm()?;
    // Its page is written elsewhere, or this CPU would be in the mask.
    on_cpus(&[other], move || drop(map_written_page(mm)));
    make_lazy(&others, mm);
    let me = powerpc64::percpu::cpu_id();
    check!(!lazy_tlb().mm(mm).cpumask().test(me), "the outsider is in the mask");
    let before = Bill::now();
    lazy_tlb().mmput(mm);
    let bill = Bill::now().since(before);
    let lazy = others.len() as u64;
    let (kicks, shots) = match policy() {
        Policy::Eager | Policy::Refcount => (0, 0),
        Policy::Shootdown => (lazy, 0),
        Policy::Hazard => (0, lazy),
    };
    check_eq!(
        (bill.exit_kick, bill.shot_ipi, bill.shot_self),
        (kicks, shots, 0),
        "kicks, shots, shots at itself"
    );
    drain_borrows();
    check_eq!(Bill::now().since(before).freed, 1, "mms freed once borrows are drained");
    Ok(Outcome::Pass)
}

/// A lazy kernel thread execs (T3's ledger): the old borrow is given back once.
pub(super) fn exec_by_kernel_thread() -> Verdict {
    drain_borrows();
    let (first, second) = (new_mm_with_page()?, new_mm_with_page()?);
    let before = Bill::now();
    // Lazy on the first …
    lazy_tlb().mmget(first);
    lazy_tlb().exec_mmap(first);
    lazy_tlb().exit_mm();
    // … into the second, and out of it.
    lazy_tlb().exec_mmap(second);
    check_eq!(lazy_tlb().mm(first).count(), 1, "mm_count of the mm that was borrowed");
    lazy_tlb().exit_mm();
    lazy_tlb().mmput(first);
    drain_borrows();
    check_eq!(Bill::now().since(before).freed, 2, "mms freed");
    Ok(Outcome::Pass)
}

/// Uses of an mm leave its count as it was (T1), whether the thread was lazy on
/// another mm or on the same one.
pub(super) fn use_mm_counts_return() -> Verdict {
    let kernel = lazy_tlb();
    drain_borrows();
    let (mm, other) = (new_mm_with_page()?, new_mm_with_page()?);
    for _ in 0..100 {
        // The second use begins lazy on `mm` itself, unless the policy is eager.
        for used in [mm, mm, other] {
            kernel.kthread_use_mm(used);
            kernel.kthread_unuse_mm(used);
        }
    }
    drain_borrows();
    check_eq!((kernel.mm(mm).count(), kernel.mm(other).count()), (1, 1), "mm_count after 100 rounds");
    check_eq!((kernel.mm(mm).users(), kernel.mm(other).users()), (1, 1), "mm_users after 100 rounds");
    kernel.mmput(mm);
    kernel.mmput(other);
    drain_borrows();
    Ok(Outcome::Pass)
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
    kernel.mmput_async(mm);
    crate::task::work::flush();
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
