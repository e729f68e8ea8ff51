//! CPUs that come and go: T7, T8, T11.

use super::*;
use crate::selftest::hotplug::{bring_back, held_on_its_way, while_offline};

/// T7: a CPU leaves all masks when it goes offline, and its cached translations are gone. The page
/// changes meanwhile, and the CPU reads the new one when it is back: a bit that stayed would stand
/// for a flush that no CPU makes.
pub(super) fn offline_leaves_no_bit() -> Verdict {
    let (mut scene, [cpu]) = Scene::with_last()?;
    // In two masks: of the mm that it is lazy on, and of the one before.
    let former = scene.lazy_mm(&[cpu])?;
    let (mm, page) = scene.page()?;
    check_eq!(read_on(cpu, mm, page)?, WRITTEN, "what the CPU read before");
    check!(in_mask(cpu, former) && in_mask(cpu, mm), "the CPU is not in the masks of what it has run");
    while_offline(&[cpu], || {
        let named = lazy_tlb().mms().iter().filter(|mm| mm.cpumask().test(cpu)).count();
        check_eq!(named, 0, "masks that name a CPU which is offline");
        // By the only user: a kick of all other CPUs in the mask, then a local flush.
        lazy_tlb().exec_mmap(mm);
        forget(mm, page)?;
        replace(mm, page, 7)?;
        lazy_tlb().mmget(mm);
        lazy_tlb().exit_mm();
        Ok(())
    })?;
    check_eq!(read_on(cpu, mm, page)?, 7, "what the CPU reads when it is back");
    scene.end(&[former, mm])
}

/// T8: the mm dies at the moment at which the CPU that borrows it is about to leave it for good. As
/// long as the CPU has it loaded, its bit stands, and the shoot (or the kick) waits for it.
pub(super) fn mm_dies_as_a_cpu_goes() -> Verdict {
    let (mut scene, [cpu]) = Scene::with_last()?;
    let mm = scene.lazy_mm(&[cpu])?;
    let went =
        held_on_its_way(&mut scene, cpu, LeaveLazyHalf, 1 + owes().sent_away(2), || lazy_tlb().mmput(mm));
    bring_back(cpu)?;
    went?;
    scene.end(&[])
}

/// T8: a CPU that is about to leave what it borrows for good is kicked at that moment.
/// It has left when it answers, and gives its borrow back once.
pub(super) fn kick_as_a_cpu_goes() -> Verdict {
    let (mut scene, [cpu]) = Scene::with_last()?;
    let mm = scene.lazy_mm(&[cpu])?;
    // As the only user: the next flush is a kick, under every policy.
    lazy_tlb().exec_mmap(mm);
    let kick = || lazy_tlb().flush(mm, FlushRange::Everything);
    let went = held_on_its_way(&mut scene, cpu, LeaveLazyHalf, 3, kick);
    bring_back(cpu)?;
    went?;
    expect_unborrowed(mm)?;
    scene.end(&[])
}

/// T8: every CPU but this one goes offline while lazy on an mm, which then dies. No CPU has it
/// loaded any more, so its PID is reused at once, and no CPU is called.
pub(super) fn mm_dies_while_cpus_are_offline() -> Verdict {
    let (mut scene, _, [first]) = Scene::with()?;
    let mm = scene.lazy_mm(&other_cpus())?;
    let calls = total(|c| &c.ipi_sent_call);
    let next = while_offline(&other_cpus(), || {
        run_and_exit(mm);
        check_eq!(total(|c| &c.ipi_sent_call) - calls, 0, "cross-calls while one CPU is online");
        drain_borrows();
        check_eq!(scene.cost().freed, 1, "mms freed while their lazy CPUs are offline");
        Ok(scene.empty_mm()?)
    })?;
    check_eq!(next.pid(), mm.pid(), "the PID of the next mm");
    let page = map_written_page(next)?;
    check_eq!(read_on(first, next, page)?, WRITTEN, "what a CPU reads under the PID when it is back");
    scene.end(&[next])
}

/// T11: `init_mm`'s bits and its count, over boot, death and start: one bit for every
/// CPU that is online, and one unit where borrows are counted.
pub(super) fn init_mm_is_balanced() -> Verdict {
    let [cpu] = last_others()?;
    let kernel = lazy_tlb();
    let balanced = |when: &str| {
        // The CPUs that borrow it vary from moment to moment, so all are made to.
        drain_borrows();
        let (init_mm, online) = (kernel.mm(MmId::INIT_MM), kernel.online());
        let mask = init_mm.cpumask().peek(kernel.nr_cpus());
        check!(mask == online, "init_mm's mask is not the CPUs that are online, {when}");
        check_eq!(
            init_mm.count(),
            1 + owes().counted(online.len() as u32),
            format!("init_mm's count {when}")
        );
        Ok::<(), Stop>(())
    };
    balanced("since the boot")?;
    for round in 0..3 {
        while_offline(&[cpu], || {
            check_eq!(kernel.cpu(cpu).active_mm.peek(), MmId::NONE, "what a CPU has that is offline");
            balanced(&format!("while {cpu} is offline, round {round}"))
        })?;
        balanced(&format!("when {cpu} is back, round {round}"))?;
    }
    Ok(())
}
