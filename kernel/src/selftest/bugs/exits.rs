//! The end of an mm while CPUs are lazy on it: T13 to T17.

use kcore::machine::Cpu;

use super::*;
use crate::machine::call_function;
use crate::selftest::lazy::{exit_with_lazies, exit_with_move};

/// T13: the last thread exits while it is itself the only borrower.
pub(super) fn exit_alone() -> Verdict {
    let mut scene = Scene::new();
    let mm = scene.mm()?;
    wind_trim_clock();
    run_and_exit(mm);
    scene.expect(Counts { freed: 1 - owes().lingering(1), shot_self: owes().shot(1), ..Counts::ZERO })?;
    scene.end(&[])
}

/// T14: the exiting task moves after the final flush. The CPU that it left was not kicked, so
/// `__mmdrop` must find it.
pub(super) fn exit_migrated_before_mmdrop() -> Verdict {
    exit_with_move(MmdropLast, Counts { shot_ipi: owes().shot(1), ..Counts::ZERO })
}

/// T15: an mm that never had a page. Nothing was mapped, but it was loaded.
pub(super) fn exit_without_pages() -> Verdict {
    let mut scene = Scene::new();
    let mm = scene.empty_mm()?;
    exit_with_lazies(scene, mm)
}

/// T16: the last reference goes on a CPU that never had the mm.
pub(super) fn outsider_drops_last() -> Verdict {
    let (mut scene, me, [other]) = Scene::with()?;
    let (mm, others) = (scene.empty_mm()?, other_cpus());
    // Its page is written by another CPU, so that this one is not in the mask.
    on_cpus(&[other], move || drop(map_written_page(mm)));
    make_lazy(&others, mm);
    check!(!in_mask(me, mm), "the outsider is in the mask");
    lazy_tlb().mmput(mm);
    let lazy = others.len() as u64;
    scene.expect(Counts {
        freed: 1 - owes().lingering(1),
        exit_kick: owes().kicked(lazy),
        shot_ipi: owes().shot_unkicked(lazy),
        shot_self: 0,
    })?;
    scene.end(&[])
}

/// T17: when the last reference is gone and the policy has done its part, no CPU reports the PID in
/// its register, and the next mm gets it.
pub(super) fn pid_is_loaded_nowhere() -> Verdict {
    const ROUNDS: u64 = 4;
    static HOLDERS: AtomicU32 = AtomicU32::new(0);
    fn look(pid: u64) {
        if u64::from(arch::mmu::loaded_pid().get()) == pid {
            HOLDERS.fetch_add(1, Ordering::Relaxed);
        }
    }
    fn ask_everyone(pid: u64) {
        let kernel = lazy_tlb();
        look(pid);
        kernel.machine.with_preempt_off(|t| call_function(t, &kernel.online().without(t.cpu()), look, pid));
    }
    let mut scene = Scene::new();
    let mut pids: Vec<u32> = Vec::new();
    for _ in 0..ROUNDS {
        let mm = scene.lazy_mm(&other_cpus())?;
        let pid = mm.pid().get();
        pids.push(pid);
        HOLDERS.store(0, Ordering::Relaxed);
        let end = arm_for_anyone(MmdropClean, move || ask_everyone(pid.into()));
        run_and_exit(mm);
        drain_borrows();
        check!(end.found().is_some(), "the mm did not come to its end");
        check_eq!(HOLDERS.load(Ordering::Relaxed), 0, "CPUs that still had the dying PID");
    }
    check!(pids.iter().all(|&pid| pid == pids[0]), "the PIDs are not reused at once: {pids:?}");
    scene.end(&[])
}
