//! Use of an mm by a kernel thread, and exec by one: T1 to T3.

use super::*;

/// T1: uses of an mm leave its count as it was, whether the thread was lazy on another mm or on
/// this one.
pub(super) fn use_mm_counts_return() -> Verdict {
    let mut scene = Scene::new();
    let (mm, other) = (scene.mm()?, scene.mm()?);
    for _ in 0..100 {
        // The second use begins lazy on `mm` itself, unless the policy is eager.
        [mm, mm, other].into_iter().for_each(|used| inside(used, || ()));
    }
    drain_borrows();
    expect_unborrowed(mm)?;
    expect_unborrowed(other)?;
    scene.end(&[mm, other])
}

/// T2: a kernel thread has stored its new `mm` on a CPU whose bit is still in the mask, and the
/// only process that runs the mm drops a page of it. The kick is taken when the MMU has the mm, not
/// in between, and the thread reads the new page.
pub(super) fn use_mm_races_a_flush() -> Verdict {
    let (mut scene, me, [user]) = Scene::with()?;
    let (mm, page) = scene.page()?;
    check_eq!(read_on(user, mm, page)?, WRITTEN, "what was read before");
    // A CPU that leaves by a switch keeps its bit and its TLB entries.
    drain_borrows();
    check!(!has(user, mm) && in_mask(user, mm), "the CPU is not in the mask alone");
    lazy_tlb().exec_mmap(mm);
    scene.play(script! {
        user reaches EnterMmHalf;
        me reaches CallPosted;
        user leaves EnterMmHalf;
    });
    let reader = scene.part(user, move || read(mm, page));
    wait_until_passed(1);
    // Where the thread's use is a user, only a trim is a kick.
    make_trim_due();
    forget(mm, page)?;
    scene.played()?;
    check_eq!(reader.result()?, 0, "what was read after");
    scene.end(&[])
}

/// T2: the mm that the thread is leaving dies at that moment. The IPI that shoots the thread's CPU
/// is taken when it has loaded the new mm, not in between.
pub(super) fn use_mm_races_a_shoot() -> Verdict {
    let (mut scene, me, [user]) = Scene::with()?;
    let (old, new) = (scene.lazy_mm(&[user])?, scene.mm()?);
    scene.play(script! {
        user reaches EnterMmHalf;
        me reaches CallPosted;
        user leaves EnterMmHalf;
    });
    scene.part(user, move || inside(new, || ()));
    wait_until_passed(1);
    lazy_tlb().mmput(old);
    scene.played_first(1)?;
    drain_borrows();
    expect_unborrowed(new)?;
    scene.end(&[new])
}

/// T2 at the other end of a use: a task has given up its `mm` and does not borrow it yet. The kick
/// is taken when the borrow has begun; otherwise the borrow would begin after the kick that is to
/// end it.
fn giving_up_races_a_kick(user_part: fn(MmId), users: u32) -> Verdict {
    let (mut scene, me, [user]) = Scene::with()?;
    let mm = scene.mm()?;
    lazy_tlb().exec_mmap(mm);
    (1..users).for_each(|_| lazy_tlb().mmget(mm));
    scene.play(script! {
        user reaches GiveUpHalf;
        me reaches CallPosted;
        user leaves GiveUpHalf;
    });
    scene.part(user, move || user_part(mm));
    wait_until_passed(1);
    // With several users only a trim is a kick.
    make_trim_due();
    lazy_tlb().flush(mm, FlushRange::Everything);
    let stayed = has(user, mm) || in_mask(user, mm);
    scene.played()?;
    check!(!stayed, "the CPU that gave the mm up has it after the kick, or its bit in the mask");
    expect_unborrowed(mm)?;
    scene.end(&[])
}

/// By a thread that exits, while another one runs on.
pub(super) fn exit_races_a_kick() -> Verdict {
    giving_up_races_a_kick(run_and_exit, 2)
}

/// By a kernel thread that has used the mm of the only thread that runs it.
pub(super) fn unuse_mm_races_a_kick() -> Verdict {
    giving_up_races_a_kick(|mm| inside(mm, || ()), 1)
}

/// T3's ledger: a lazy kernel thread execs: the old borrow is given back once.
pub(super) fn exec_by_kernel_thread() -> Verdict {
    let mut scene = Scene::new();
    let (first, second) = (scene.mm()?, scene.mm()?);
    // Lazy on the first …
    lazy_tlb().mmget(first);
    run_and_exit(first);
    // … into the second, and out of it.
    lazy_tlb().exec_mmap(second);
    expect_unborrowed(first)?;
    lazy_tlb().exit_mm();
    scene.end(&[first])
}

/// T3: a lazy kernel thread in the middle of its exec is asked to move, and another thread, which
/// changes the CPU's loaded mm, waits for it to go. It goes after the exec's switch.
pub(super) fn exec_is_not_preempted() -> Verdict {
    let (mut scene, me, [cpu]) = Scene::with()?;
    let (old, new, third) = (scene.lazy_mm(&[cpu])?, scene.mm()?, scene.mm()?);
    scene.play(script! {
        cpu reaches EnterMmHalf;
        me marks;
        cpu leaves EnterMmHalf;
    });
    let part = scene.part(cpu, move || run_and_exit(new));
    wait_until_passed(1);
    let intruder = start_on(cpu, move || {
        let found = lazy_tlb().cpu(cpu).active_mm.peek();
        inside(third, || ());
        found
    });
    move_task(&part.task, me);
    // The interrupt that makes it go is on its way: if it can be taken at the point, it is taken
    // before the CPU sees this mark.
    mark();
    scene.played()?;
    check!(intruder.result() != old, "another thread ran in the middle of the exec's switch, on {old:?}");
    scene.end(&[old, third])
}
