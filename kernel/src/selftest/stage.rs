//! The stage of the protocol's tests: puts CPUs into the state that a test wants, and counts the
//! cost.
//!
//! Like a user task, a kernel thread can own an address space (`exec_mmap`) and give it up
//! (`exit_mm`), so no user program is needed.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, Ordering};

use arch::timer;
use kcore::counters::Counters;
use kcore::cpu::{CpuId, CpuSet};
use kcore::ledger::Ledger;
use kcore::machine::Cpu;
use kcore::mm::MmId;
use kcore::sync::Counter;

use super::{Stop, check_eq};
use crate::machine::lazy_tlb;
use crate::sync::SpinLock;
use crate::task::WaitQueue;
use crate::task::{self, TaskRef, kthread, online_cpus, work};

/// A counter's sum over all CPUs.
pub(super) fn total(counter: fn(&Counters) -> &Counter) -> u64 {
    lazy_tlb().cpus().iter().map(|cpu| counter(&cpu.counters).get()).sum()
}

/// The duties of this run's policy.
pub(super) fn owes() -> Ledger {
    Ledger::with(lazy_tlb().config())
}

pub(super) fn other_cpus() -> Vec<CpuId> {
    lazy_tlb().machine.with_preempt_off(|t| lazy_tlb().online().without(t.cpu()).iter().collect())
}

/// The first `N` CPUs besides the test's own. The test is skipped if there are fewer.
pub(super) fn others<const N: usize>() -> Result<[CpuId; N], Stop> {
    first_of(other_cpus())
}

/// The last `N` CPUs besides the test's own, the last first. The test is skipped if there are
/// fewer. On the first CPUs the housekeepers wake from time to time, which would revive a lost
/// task.
pub(super) fn last_others<const N: usize>() -> Result<[CpuId; N], Stop> {
    let mut cpus = other_cpus();
    cpus.reverse();
    first_of(cpus)
}

fn first_of<const N: usize>(cpus: Vec<CpuId>) -> Result<[CpuId; N], Stop> {
    const TOO_FEW: [&str; 3] = ["one CPU", "fewer than three CPUs", "fewer than four CPUs"];
    cpus.first_chunk().copied().ok_or(Stop::Skip(TOO_FEW[N - 1]))
}

/// Every CPU that is online.
pub(super) fn all_cpus() -> Vec<CpuId> {
    lazy_tlb().online().iter().collect()
}

/// A kernel thread of a test, and its result.
pub(super) struct Helper<R> {
    pub(super) task: TaskRef,
    returned: Arc<SpinLock<Option<R>>>,
}

impl<R> Helper<R> {
    /// Waits for its end. Returns its result.
    pub(super) fn result(&self) -> R {
        self.task.wait_exit();
        self.returned.lock().take().expect("a helper returns once")
    }
}

/// Runs `f` in a kernel thread on `cpu`.
pub(super) fn start_on<R: Send + 'static>(cpu: CpuId, f: impl FnOnce() -> R + Send + 'static) -> Helper<R> {
    let returned = Arc::new(SpinLock::new("what a test's thread returns", None));
    let told = returned.clone();
    let task = kthread::spawn_on(cpu, "test-helper", move || {
        let result = f();
        *told.lock() = Some(result);
    });
    Helper { task, returned }
}

/// Runs `f` in a kernel thread on each of `cpus`, at once, and waits for them. Returns their
/// results.
pub(super) fn on_cpus<R: Send + 'static>(
    cpus: &[CpuId],
    f: impl Fn() -> R + Send + Copy + 'static,
) -> Vec<R> {
    let threads: Vec<_> = cpus.iter().map(|&cpu| start_on(cpu, f)).collect();
    threads.iter().map(Helper::result).collect()
}

/// Runs `mm` in the current thread, which has a user's unit of it, and gives it up.
pub(super) fn run_and_exit(mm: MmId) {
    lazy_tlb().exec_mmap(mm);
    lazy_tlb().exit_mm();
}

/// Leaves each of `cpus` lazy on `mm` (or on `init_mm`, under eager), by a thread that runs it
/// there and exits.
pub(super) fn make_lazy(cpus: &[CpuId], mm: MmId) {
    cpus.iter().for_each(|_| lazy_tlb().mmget_for_task(mm));
    on_cpus(cpus, move || run_and_exit(mm));
}

/// Whether `cpu` has `mm` loaded.
pub(super) fn has(cpu: CpuId, mm: MmId) -> bool {
    lazy_tlb().cpu(cpu).active_mm.peek() == mm
}

/// Whether `cpu` is in the mask of `mm`.
pub(super) fn in_mask(cpu: CpuId, mm: MmId) -> bool {
    lazy_tlb().mm(mm).cpumask().test(cpu)
}

/// Fails unless `mm` has one user, and no borrow is counted.
pub(super) fn expect_unborrowed(mm: MmId) -> Result<(), String> {
    let mm = lazy_tlb().mm(mm);
    check_eq!((mm.users(), mm.count()), (1, 1), "mm_users and mm_count of an mm with one user");
    Ok(())
}

/// Winds this CPU's trim clock back, so that its next flush trims nothing (unless every flush
/// trims). Otherwise the CPU of an exit may leave the mm by itself in the final flush, before the
/// step that the test is about. Trims have a test of their own, T6.
pub(super) fn wind_trim_clock() {
    lazy_tlb().machine.with_preempt_off(|t| {
        // Relaxed: only this CPU uses it.
        lazy_tlb().cpu(t.cpu()).trim_clock.store(0, Ordering::Relaxed);
    });
}

/// Winds this CPU's trim clock forward: its next flush trims, if it may.
pub(super) fn make_trim_due() {
    lazy_tlb().machine.with_preempt_off(|t| {
        let last = lazy_tlb().config().trim_period - 1;
        // Relaxed: only this CPU uses it.
        lazy_tlb().cpu(t.cpu()).trim_clock.store(last, Ordering::Relaxed);
    });
}

/// Makes every CPU borrow `init_mm`, so that all other borrows end.
pub(super) fn drain_borrows() {
    on_cpus(&all_cpus(), || {
        lazy_tlb().kthread_use_mm(MmId::INIT_MM);
        lazy_tlb().kthread_unuse_mm(MmId::INIT_MM);
    });
}

pub(super) fn lazies_of(mm: MmId) -> usize {
    lazy_tlb().cpus().iter().filter(|cpu| cpu.active_mm.peek() == mm && cpu.curr_mm.peek().is_none()).count()
}

pub(super) fn move_to(cpu: CpuId) {
    move_task(&task::current_ref(), cpu);
}

/// Has `task` run on `cpu` only, as soon as it may be moved.
pub(super) fn move_task(task: &task::Task, cpu: CpuId) {
    task::set_affinity(task, &CpuSet::only(cpu)).expect("a test moves to a CPU that is offline");
}

/// The time base in `us` microseconds.
pub(super) fn in_us(us: u64) -> u64 {
    timer::now_tb() + us * timer::ticks_per_us()
}

/// Yields the CPU until `done`, for ten seconds at most. Returns whether it is done.
pub(super) fn wait_for(done: impl Fn() -> bool) -> bool {
    wait_at_most(10, done)
}

/// Yields the CPU until `done`, for this many seconds at most. Returns whether it is done.
pub(super) fn wait_at_most(seconds: u64, done: impl Fn() -> bool) -> bool {
    let limit_tb = in_us(seconds * 1_000_000);
    while !done() && timer::now_tb() < limit_tb {
        task::yield_now();
    }
    done()
}

/// Sleeps until all work that was queued before, on any CPU, is done. Leaves nothing on
/// the heap: a piece of work is freed before it runs, and this one holds nothing. One
/// caller at a time, as with tests.
pub(super) fn flush_work() {
    static LEFT: AtomicU32 = AtomicU32::new(0);
    static WAITER: WaitQueue = WaitQueue::new();
    let online = online_cpus();
    LEFT.store(online.len() as u32, Ordering::Relaxed);
    for cpu in online.iter() {
        work::queue_on(cpu, || {
            // Release: orders the earlier work before the count. Partner: the acquire below.
            if LEFT.fetch_sub(1, Ordering::Release) == 1 {
                WAITER.wake_all();
            }
        });
    }
    WAITER.wait_until(|| LEFT.load(Ordering::Acquire) == 0);
}
