//! CPUs that are asked to leave an mm and to flush: T4 to T6, T9, T10.

use super::*;
use crate::selftest::coprocessor::FakeCoprocessor;

/// How often `cpu` has flushed its own TLB.
fn flushes_of(cpu: CpuId) -> u64 {
    lazy_tlb().cpu(cpu).counters.tlbiel.get()
}

fn flush(mm: MmId) {
    lazy_tlb().flush(mm, FlushRange::Everything);
}

/// T4: a single-threaded process kicks the lazy CPUs while a kernel thread uses its mm. The
/// thread's CPU keeps its bit, or the next flush would miss it.
pub(super) fn kick_spares_the_users_bit() -> Verdict {
    let (mut scene, me, [user]) = Scene::with()?;
    let (mm, page) = scene.page()?;
    scene.play(script! {
        user marks;
        me marks;
    });
    let use_mm = move || {
        let _ = uaccess::load_user_u32(page);
        mark();
        // It stays on its CPU and in the mm, so that a stale translation would stay.
        wait_until_passed(2);
        uaccess::load_user_u32(page).ok()
    };
    let reader = scene.part(user, move || inside(mm, use_mm));
    wait_until_passed(1);
    lazy_tlb().exec_mmap(mm);
    // The first is a kick. The second finds the thread's CPU only by its bit.
    forget(mm, page)?;
    check!(in_mask(user, mm), "the CPU of the thread that uses the mm lost its bit");
    replace(mm, page, 7)?;
    forget(mm, page)?;
    mark();
    scene.played()?;
    check_eq!(reader.result(), Some(0), "what the thread read of a page that was dropped");
    scene.end(&[])
}

/// T5: the CPUs of two processes kick one lazy CPU. The second kick finds the bit clear: it must
/// still flush, and give nothing back twice.
pub(super) fn two_kicks_of_one_cpu() -> Verdict {
    let (mut scene, me, [lazy, second]) = Scene::with()?;
    let mm = scene.lazy_mm(&[lazy])?;
    let before = flushes_of(lazy);
    scene.play(script! {
        second marks;
        lazy reaches EvictArrived;
        me reaches CallPosted;
        second reaches CallPosted;
        lazy leaves EvictArrived;
    });
    let kick_second = move || {
        mark();
        wait_until_passed(2);
        make_trim_due();
        flush(mm);
    };
    scene.part(second, move || inside(mm, kick_second));
    lazy_tlb().exec_mmap(mm);
    wait_until_passed(1);
    // Where the use of `second` is a user, only a trim is a kick.
    make_trim_due();
    flush(mm);
    scene.played()?;
    check_eq!(flushes_of(lazy) - before, 2, "flushes of the CPU that was kicked twice");
    check!(!in_mask(lazy, mm), "the CPU that was kicked is in the mask");
    check!(!has(lazy, mm), "the CPU that was kicked still has the mm");
    // The users' unit, and the borrow of `second`.
    check_eq!(lazy_tlb().mm(mm).count(), 1 + owes().counted(1), "mm_count after both kicks");
    scene.end(&[])
}

/// A scene in which this CPU is lazy on an mm where the policy borrows; this CPU, another
/// one, and the mm, whose only user is the test.
fn lazy_here() -> Result<(Scene, CpuId, CpuId, MmId), Stop> {
    let (mut scene, me, [other]) = Scene::with()?;
    let mm = scene.mm()?;
    lazy_tlb().mmget(mm);
    run_and_exit(mm);
    Ok((scene, me, other, mm))
}

/// T6: a CPU that is lazy on the mm trims itself in a flush of its own, and is kicked
/// in the middle: it leaves once.
pub(super) fn kick_during_a_self_trim() -> Verdict {
    let (mut scene, me, other, mm) = lazy_here()?;
    scene.play(script! {
        me reaches LeaveLazyHalf;
        other reaches CallPosted;
        me leaves LeaveLazyHalf;
    });
    scene.part(other, move || {
        wait_until_passed(1);
        make_trim_due();
        inside(mm, || flush(mm));
    });
    let period = lazy_tlb().config().trim_period;
    let mut flushes = 0;
    while in_mask(me, mm) && flushes <= period {
        lazy_tlb().flush(mm, FlushRange::Pages { start: 0, pages: 1 });
        flushes += 1;
    }
    scene.played_first(owes().borrowed(3))?;
    check!(flushes <= period, "no trim in {flushes} flushes");
    drain_borrows();
    expect_unborrowed(mm)?;
    scene.end(&[mm])
}

/// T6's later half: a CPU that trims itself has left and flushed, and is kicked before its bit is
/// clear. The second kick finds the first done: served in between, it would let its initiator count
/// on a CPU in the middle of leaving.
pub(super) fn kick_behind_the_flush() -> Verdict {
    let (mut scene, me, other, mm) = lazy_here()?;
    scene.play(script! {
        me reaches EvictFlushed;
        other reaches CallPosted;
        me leaves EvictFlushed;
    });
    let kick_second = move || {
        let bit = arm_for_anyone(EvictArrived, move || in_mask(percpu::cpu_id(), mm));
        make_trim_due();
        flush(mm);
        bit.found()
    };
    let bit = scene.part(other, move || {
        wait_until_passed(1);
        inside(mm, kick_second)
    });
    make_trim_due();
    let before = flushes_of(me);
    flush(mm);
    scene.played()?;
    check_eq!(flushes_of(me) - before, 2, "flushes of the CPU, one for each");
    check_eq!(bit.result(), Some(false), "whether the second kick found the bit set");
    check!(!in_mask(me, mm), "the CPU is in the mask after a trim and a kick");
    drain_borrows();
    expect_unborrowed(mm)?;
    scene.end(&[mm])
}

/// T9: with a coprocessor attached every flush is broadcast, also those of an mm that only one CPU
/// has, and the exit's after its kick. The oracle checks that they reach it.
pub(super) fn exit_with_a_coprocessor() -> Verdict {
    FakeCoprocessor::possible()?;
    let mut scene = Scene::new();
    let (mm, page) = scene.page()?;
    let broadcasts = || total(|c| &c.tlbie);
    lazy_tlb().exec_mmap(mm);
    let alone = broadcasts();
    lazy_tlb().flush(mm, FlushRange::Translations);
    check_eq!(broadcasts() - alone, 0, "broadcasts of a flush that only this CPU needs");
    let coprocessor = FakeCoprocessor::attach(mm);
    lazy_tlb().flush(mm, FlushRange::Translations);
    check_eq!(broadcasts() - alone, 1, "broadcasts of a flush with a coprocessor");
    coprocessor.detach();
    forget(mm, page)?;
    check_eq!(broadcasts() - alone, 2, "broadcasts with those of its end");
    let coprocessor = FakeCoprocessor::attach(mm);
    make_lazy(&other_cpus(), mm);
    let exit = broadcasts();
    lazy_tlb().exit_mm();
    check_eq!(broadcasts() - exit, 1, "broadcasts of an exit with a coprocessor");
    drain_borrows();
    check_eq!(scene.cost().freed, 0, "mms freed under a coprocessor");
    coprocessor.detach();
    scene.end(&[])
}

/// T10: the exiting task is asked to move between the kick and the local flush. It goes after both;
/// otherwise one of them would miss the CPU that it left.
pub(super) fn exit_kick_stays_on_its_cpu() -> Verdict {
    let (mut scene, me, [other]) = Scene::with()?;
    if !owes().kicks {
        return Err(Stop::Skip("the policy does not kick"));
    }
    let others = other_cpus();
    let mm = scene.lazy_mm(&others)?;
    lazy_tlb().exec_mmap(mm);
    let local_here = || lazy_tlb().cpu(me).counters.tlbiel.get();
    let global = || total(|c| &c.flush_global);
    let (local_before, global_before) = (local_here(), global());
    wind_trim_clock();
    let moves = arm(ExitEvicted, move || move_to(other));
    lazy_tlb().exit_mm();
    check!(moves.found().is_some(), "the exit did not kick");
    check_eq!(scene.cost().exit_kick, others.len() as u64, "CPUs kicked");
    check_eq!(local_here() - local_before, 1, "local flushes where the kick was sent from");
    check_eq!(global() - global_before, 0, "global flushes");
    scene.end(&[])
}
