//! The end of an mm while CPUs are lazy on it: T13 to T17.

use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, Ordering};

use arch::percpu;
use kcore::lazy_tlb::Policy;
use kcore::machine::{Cpu, Point};

use super::{ONE_CPU, end_of};
use crate::machine::{call_function, lazy_tlb};
use crate::selftest::address_space::{map_written_page, new_mm};
use crate::selftest::lazy::{exit_with_lazies, exit_with_move};
use crate::selftest::points;
use crate::selftest::stage::{
    Bill, drain_borrows, make_lazy, new_mm_with_page, on_cpus, other_cpus, policy, shoots, wind_trim_clock,
};
use crate::selftest::{Outcome, Verdict, check, check_eq};

/// T13: the last thread exits while it is itself the only borrower.
pub(super) fn exit_alone() -> Verdict {
    drain_borrows();
    let mm = new_mm_with_page()?;
    let before = Bill::now();
    wind_trim_clock();
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

/// T14: the exiting task moves after the final flush. Nobody kicked the CPU that it
/// left, so `__mmdrop` must find it.
pub(super) fn exit_migrated_before_mmdrop() -> Verdict {
    if other_cpus().is_empty() {
        return Ok(ONE_CPU);
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

/// T15: an mm that never had a page. Nothing was mapped, but it was loaded.
pub(super) fn exit_without_pages() -> Verdict {
    exit_with_lazies(new_mm()?)
}

/// T16: the last reference goes on a CPU that never had the mm.
pub(super) fn outsider_drops_last() -> Verdict {
    let others = other_cpus();
    let Some(&other) = others.first() else { return Ok(ONE_CPU) };
    drain_borrows();
    let mm = new_mm()?;
    // Its page is written elsewhere, or this CPU would be in the mask.
    on_cpus(&[other], move || drop(map_written_page(mm)));
    make_lazy(&others, mm);
    let me = percpu::cpu_id();
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

/// T17: when the last reference is gone and the policy has done its part, no CPU's PID
/// register has the PID, by its own word; and the next mm has it.
pub(super) fn pid_is_loaded_nowhere() -> Verdict {
    const ROUNDS: u64 = 4;
    static PID: AtomicU32 = AtomicU32::new(0);
    static HOLDERS: AtomicU32 = AtomicU32::new(0);
    fn look(_: u64) {
        if arch::mmu::loaded_pid().get() == PID.load(Ordering::Relaxed) {
            HOLDERS.fetch_add(1, Ordering::Relaxed);
        }
    }
    fn ask_everyone() {
        let kernel = lazy_tlb();
        look(0);
        kernel.machine.with_preempt_off(|t| call_function(t, &kernel.online().without(t.cpu()), look, 0));
    }
    drain_borrows();
    let before = Bill::now();
    let mut pids: Vec<u32> = Vec::new();
    for _ in 0..ROUNDS {
        let mm = new_mm_with_page()?;
        pids.push(mm.pid().get());
        PID.store(mm.pid().get(), Ordering::Relaxed);
        HOLDERS.store(0, Ordering::Relaxed);
        make_lazy(&other_cpus(), mm);
        lazy_tlb().exec_mmap(mm);
        points::arm_for_anyone(Point::MmdropClean, ask_everyone);
        lazy_tlb().exit_mm();
        drain_borrows();
        check_eq!(points::times_reached(), 1, "mms that came to their end");
        check_eq!(HOLDERS.load(Ordering::Relaxed), 0, "CPUs that still had the dying PID");
    }
    check!(pids.iter().all(|&pid| pid == pids[0]), "the PIDs are not reused at once: {pids:?}");
    end_of(&[], before, ROUNDS)
}
