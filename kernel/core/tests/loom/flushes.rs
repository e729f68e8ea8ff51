//! A CPU goes lazy and comes back while others flush: under `generation` a flush may leave it
//! out, and it makes up for that when it comes back. Under each policy no CPU uses a page after
//! the flush of its entry, and no access to a page overlaps with its reuse.

use kcore::Config;
use kcore::lazy_tlb::Policy;
use kcore::ledger::Ledger;
use kcore::mm::flush::FlushRange;

use crate::under_each_policy;
use crate::{CPU1, Contents, Rig, Stage, expect_dead_after_drain, explore, race, stage};

/// CPU 0 does `flushes` while CPU 1 does `moves`; then `check`. All flushes of other CPUs are
/// broadcast, or all are IPIs.
fn explore_both(
    name: &str,
    policy: Policy,
    bound: usize,
    lazy: bool,
    flushes: fn(&Rig, Stage),
    moves: fn(&Rig, Stage, &Contents),
    check: fn(&Rig, Stage),
) {
    for global_by_ipi in [false, true] {
        let name = format!("{name}, {}", if global_by_ipi { "IPI" } else { "tlbie" });
        let config = Config { policy, global_by_ipi, ..Config::default() };
        explore(&name, Some(bound), move || {
            let (rig, stage) = stage(config, lazy);
            let contents = Contents::new();
            let seen = contents.clone();
            race(
                &rig,
                |rig| {
                    flushes(rig, stage);
                    contents.reuse();
                },
                move |rig| moves(rig, stage, &seen),
            );
            check(&rig, stage);
        });
    }
}

fn unmap(rig: &Rig, stage: Stage) {
    rig.machine.unmap(stage.mm, 0);
}

/// The program on this CPU uses page 0, if it is there.
fn read(rig: &Rig, contents: &Contents) {
    rig.machine.access_with(0, |_| contents.access());
}

fn idle(rig: &Rig) {
    rig.machine.switch_to(rig.machine.idle(CPU1));
}

fn page_is_gone(rig: &Rig, _: Stage) {
    assert_eq!(rig.machine.on(CPU1, || rig.machine.access(0)), None, "the page is gone");
}

/// Lazy on the mm, and back.
fn returns(name: &str, policy: Policy) {
    let moves = |rig: &Rig, stage: Stage, contents: &Contents| {
        rig.machine.switch_to(stage.second);
        read(rig, contents);
    };
    explore_both(name, policy, 3, true, unmap, moves, page_is_gone);
}

/// Lazy on the mm, and a kernel thread uses it.
fn uses(name: &str, policy: Policy) {
    let moves = |rig: &Rig, stage: Stage, contents: &Contents| {
        rig.kthread_use_mm(stage.mm);
        read(rig, contents);
    };
    explore_both(name, policy, 3, true, unmap, moves, page_is_gone);
}

/// In the mm, lazy on it, and back: the CPU goes lazy in the middle of a flush.
fn goes_lazy(name: &str, policy: Policy) {
    let moves = |rig: &Rig, stage: Stage, contents: &Contents| {
        read(rig, contents);
        idle(rig);
        rig.machine.switch_to(stage.second);
        read(rig, contents);
    };
    explore_both(name, policy, 3, false, unmap, moves, page_is_gone);
}

/// Lazy on the mm, in it, lazy once more, and back.
fn goes_lazy_again(name: &str, policy: Policy) {
    let moves = |rig: &Rig, stage: Stage, contents: &Contents| {
        rig.machine.switch_to(stage.second);
        read(rig, contents);
        idle(rig);
        rig.machine.switch_to(stage.second);
        read(rig, contents);
    };
    let bound = if Ledger::of(policy).spares { 4 } else { 3 };
    explore_both(name, policy, bound, true, unmap, moves, page_is_gone);
}

/// Lazy on the mm, in another one, and back: what the TLB holds outlives the other mm.
fn by_another_mm(name: &str, policy: Policy) {
    let moves = |rig: &Rig, stage: Stage, contents: &Contents| {
        rig.machine.switch_to(stage.other);
        rig.machine.switch_to(stage.second);
        read(rig, contents);
    };
    explore_both(name, policy, 3, true, unmap, moves, page_is_gone);
}

/// Lazy on the mm, lazy on another one, and back.
fn by_another_laziness(name: &str, policy: Policy) {
    let moves = |rig: &Rig, stage: Stage, contents: &Contents| {
        rig.machine.switch_to(stage.other);
        idle(rig);
        rig.machine.switch_to(stage.second);
        read(rig, contents);
    };
    explore_both(name, policy, 3, true, unmap, moves, page_is_gone);
}

/// The flusher becomes the only user, and flushes everything: lazy CPUs are evicted while CPU
/// 1 leaves for another mm, where it owed a flush.
fn eviction(name: &str, policy: Policy) {
    let flushes = |rig: &Rig, stage: Stage| {
        unmap(rig, stage);
        rig.flush(stage.mm, FlushRange::Everything);
    };
    let moves = |rig: &Rig, stage: Stage, _: &Contents| {
        rig.mmput(stage.mm);
        rig.machine.switch_to(stage.other);
    };
    explore_both(name, policy, 3, true, flushes, moves, |rig, stage| {
        let holds = rig.machine.cached(CPU1, stage.mm) > 0;
        assert!(!holds || rig.mm(stage.mm).cpumask().test(CPU1), "a bit clear over a full TLB");
    });
}

/// The owner exits after a flush that CPU 1 owes: the PID is freed with nothing under it.
fn exit(name: &str, policy: Policy) {
    let flushes = |rig: &Rig, stage: Stage| {
        unmap(rig, stage);
        rig.exit_mm();
    };
    let moves = |rig: &Rig, stage: Stage, _: &Contents| {
        rig.mmput(stage.mm);
        rig.machine.switch_to(stage.other);
    };
    explore_both(name, policy, 3, true, flushes, moves, |rig, stage| expect_dead_after_drain(rig, stage.mm));
}

under_each_policy! {
    to_the_same_mm: returns;
    to_use_it: uses;
    in_the_middle: goes_lazy;
    lazy_once_more: goes_lazy_again;
    through_another_mm: by_another_mm;
    through_another_laziness: by_another_laziness;
    evicted: eviction;
    exits: exit;
}
