//! The stage of the protocol's tests: puts CPUs into the state that a test wants, and
//! counts what it costs.
//!
//! A kernel thread can own an address space like a user task (`exec_mmap`) and
//! give it up like one (`exit_mm`), so no user program is needed.

use alloc::string::String;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, Ordering};

use arch::timer;
use kcore::counters::Counters;
use kcore::cpu::{CpuId, CpuSet};
use kcore::lazy_tlb::Policy;
use kcore::machine::Cpu;
use kcore::mm::MmId;
use kcore::sync::Counter;

use super::address_space::{map_written_page, new_mm};
use crate::machine::lazy_tlb;
use crate::sync::WaitQueue;
use crate::task::{self, kthread, online_cpus, work};

/// A counter's sum over all CPUs.
pub(super) fn total(counter: fn(&Counters) -> &Counter) -> u64 {
    lazy_tlb().cpus().iter().map(|cpu| counter(&cpu.counters).get()).sum()
}

/// What the counters that the policies argue about said at one moment.
#[derive(Clone, Copy)]
pub(super) struct Bill {
    pub(super) freed: u64,
    pub(super) exit_kick: u64,
    pub(super) shot_ipi: u64,
    pub(super) shot_self: u64,
    pub(super) count_rmw: u64,
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
pub(super) fn shoots() -> bool {
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

/// Winds this CPU's trim clock, so that its next flush trims nothing (unless each one
/// does): else the CPU of an exit may leave the mm by itself in the final flush, and
/// what that test is about does not happen. Trims have a test of their own, T6.
pub(super) fn wind_trim_clock() {
    lazy_tlb().machine.with_preempt_off(|t| {
        // Relaxed: it is this CPU's own.
        lazy_tlb().cpu(t.cpu()).trim_clock.store(0, Ordering::Relaxed);
    });
}

/// Winds it the other way: this CPU's next flush trims, where a flush may.
pub(super) fn make_trim_due() {
    lazy_tlb().machine.with_preempt_off(|t| {
        let last = lazy_tlb().config().trim_period - 1;
        // Relaxed: as above.
        lazy_tlb().cpu(t.cpu()).trim_clock.store(last, Ordering::Relaxed);
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
pub(super) fn new_mm_with_page() -> Result<MmId, String> {
    let mm = new_mm()?;
    map_written_page(mm)?;
    Ok(mm)
}

pub(super) fn lazies_of(mm: MmId) -> usize {
    lazy_tlb().cpus().iter().filter(|cpu| cpu.active_mm.peek() == mm && cpu.curr_mm.peek().is_none()).count()
}

pub(super) fn move_to(cpu: CpuId) {
    move_task(&task::current_ref(), cpu);
}

/// Has `task` run on `cpu` only, from the next moment on at which it may be moved.
pub(super) fn move_task(task: &task::Task, cpu: CpuId) {
    task::set_affinity(task, &CpuSet::only(cpu)).expect("a test moves to a CPU that is offline");
}

/// Gives the CPU away until `done`, for ten seconds at most; whether it came.
pub(super) fn wait_for(done: impl Fn() -> bool) -> bool {
    wait_at_most(10, done)
}

/// The same, for this many seconds.
pub(super) fn wait_at_most(seconds: u64, done: impl Fn() -> bool) -> bool {
    let limit_tb = timer::now_tb() + seconds * 1_000_000 * timer::ticks_per_us();
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
            // Release: the work before. Partner: the acquire below.
            if LEFT.fetch_sub(1, Ordering::Release) == 1 {
                WAITER.wake_all();
            }
        });
    }
    WAITER.wait_until(|| LEFT.load(Ordering::Acquire) == 0);
}
