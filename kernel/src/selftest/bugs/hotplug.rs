//! CPUs that come and go: T7, T8, T11.

use alloc::format;

use arch::addr::PAGE_SIZE;
use arch::percpu;
use kcore::lazy_tlb::Policy;
use kcore::machine::Point;
use kcore::mm::MmId;
use kcore::mm::flush::FlushRange;

use super::{ONE_CPU, UNREAD, end_of, read_on};
use crate::machine::lazy_tlb;
use crate::mm;
use crate::selftest::address_space::{map_written_page, new_mm};
use crate::selftest::hotplug::{bring_back, last_cpu, start_removal, take_offline, while_offline};
use crate::selftest::points::{self, Step};
use crate::selftest::stage::{
    Bill, drain_borrows, make_lazy, new_mm_with_page, other_cpus, policy, total, wait_for,
};
use crate::selftest::{Outcome, Verdict, check, check_eq};
use crate::task;

/// T7: a CPU leaves all masks when it goes offline, and what it has cached is gone. A
/// bit that stays is a flush that nobody makes: the page changes meanwhile, and the
/// CPU reads the new one when it is back.
pub(super) fn offline_leaves_no_bit() -> Verdict {
    let Some(cpu) = last_cpu() else { return Ok(ONE_CPU) };
    let kernel = lazy_tlb();
    drain_borrows();
    let before = Bill::now();
    let (former, mm) = (new_mm_with_page()?, new_mm()?);
    let page = map_written_page(mm)?;
    // In two masks: of the mm that it is lazy on, and of the one before.
    make_lazy(&[cpu], former);
    let old = read_on(cpu, mm, page);
    let in_masks = [former, mm].map(|mm| kernel.mm(mm).cpumask().test(cpu));
    check_eq!(in_masks, [true, true], "the CPU in the masks of what it has run");
    while_offline(cpu, || {
        let named = kernel.mms().iter().filter(|mm| mm.cpumask().test(cpu)).count();
        check_eq!(named, 0, "masks that name a CPU which is offline");
        // By the only process: a kick of all others in the mask, then a local flush.
        kernel.exec_mmap(mm);
        let changed = mm::madvise(mm, page, PAGE_SIZE, mm::Advice::DontNeed).is_ok()
            && mm::poke(mm, page, &7u32.to_be_bytes()).is_ok();
        kernel.mmget(mm);
        kernel.exit_mm();
        check!(changed, "the page cannot be changed");
        Ok(())
    })?;
    check!(old != UNREAD && old != 7, "the CPU read {old:#x} before");
    check_eq!(read_on(cpu, mm, page), 7, "what the CPU reads when it is back");
    end_of(&[former, mm], before, 2)
}

/// T8: the mm dies at the moment at which the CPU that borrows it is about to leave it
/// for good. As long as the CPU has it loaded, its bit stands, and the shoot (or the
/// kick) waits for it.
pub(super) fn mm_dies_as_a_cpu_goes() -> Verdict {
    let Some(cpu) = last_cpu() else { return Ok(ONE_CPU) };
    let kernel = lazy_tlb();
    let me = percpu::cpu_id();
    drain_borrows();
    let before = Bill::now();
    let mm = new_mm_with_page()?;
    make_lazy(&[cpu], mm);
    let play = points::play(&[
        Step::reach(cpu, Point::LeaveLazyHalf),
        Step::reach(me, Point::CallPosted),
        Step::leave(cpu, Point::LeaveLazyHalf),
    ]);
    let remover = start_removal(cpu);
    let leaves = wait_for(|| play.passed() >= 1);
    kernel.mmput(mm);
    points::finished();
    remover.wait_exit();
    let (passed, gone) = (play.passed(), !task::is_online(cpu));
    drop(play);
    bring_back(cpu)?;
    check!(leaves && gone, "the CPU did not leave what it borrowed, or did not go");
    let calls = matches!(policy(), Policy::Shootdown | Policy::Hazard);
    check!(passed == 3 || !calls, "{passed} steps passed of 3");
    end_of(&[], before, 1)
}

/// T8: a CPU that is about to leave what it borrows for good is kicked at that moment.
/// It has left when it answers, and gives its borrow back once.
pub(super) fn kick_as_a_cpu_goes() -> Verdict {
    let Some(cpu) = last_cpu() else { return Ok(ONE_CPU) };
    let kernel = lazy_tlb();
    let me = percpu::cpu_id();
    drain_borrows();
    let before = Bill::now();
    let counts_of_init = kernel.mm(MmId::INIT_MM).count();
    let mm = new_mm_with_page()?;
    make_lazy(&[cpu], mm);
    // As the only user: the next flush is a kick, under every policy.
    kernel.exec_mmap(mm);
    let play = points::play(&[
        Step::reach(cpu, Point::LeaveLazyHalf),
        Step::reach(me, Point::CallPosted),
        Step::leave(cpu, Point::LeaveLazyHalf),
    ]);
    let remover = start_removal(cpu);
    let leaves = wait_for(|| play.passed() >= 1);
    kernel.flush(mm, FlushRange::Everything);
    points::finished();
    remover.wait_exit();
    let (passed, gone) = (play.passed(), !task::is_online(cpu));
    drop(play);
    bring_back(cpu)?;
    let counts = kernel.mm(mm).count();
    kernel.exit_mm();
    check!(leaves && gone, "the CPU did not leave what it borrowed, or did not go");
    check_eq!(passed, 3, "steps passed");
    check_eq!(counts, 1, "mm_count once the only borrower has gone");
    end_of(&[], before, 1)?;
    check_eq!(kernel.mm(MmId::INIT_MM).count(), counts_of_init, "mm_count of init_mm");
    Ok(Outcome::Pass)
}

/// T8: every CPU but this one goes offline while lazy on an mm, which then dies. None
/// has it loaded any more, so its PID is reused at once, and nobody is called.
pub(super) fn mm_dies_while_cpus_are_offline() -> Verdict {
    let others = other_cpus();
    let Some(&first) = others.first() else { return Ok(ONE_CPU) };
    let kernel = lazy_tlb();
    drain_borrows();
    let before = Bill::now();
    let mm = new_mm_with_page()?;
    make_lazy(&others, mm);
    let calls = total(|c| &c.ipi_sent_call);
    let all_go = others.iter().try_for_each(|&cpu| take_offline(cpu));
    kernel.exec_mmap(mm);
    kernel.exit_mm();
    let sent = total(|c| &c.ipi_sent_call) - calls;
    drain_borrows();
    let freed = Bill::now().since(before).freed;
    let next = new_mm();
    others.iter().try_for_each(|&cpu| bring_back(cpu))?;
    all_go?;
    let next = next?;
    check_eq!(sent, 0, "cross-calls while one CPU is online");
    check_eq!(freed, 1, "mms freed while their lazy CPUs are offline");
    check_eq!(next.pid(), mm.pid(), "the PID of the next mm");
    let page = map_written_page(next)?;
    check_eq!(read_on(first, next, page), 0x1122_3344, "what a CPU reads under the PID when it is back");
    end_of(&[next], before, 2)
}

/// T11: `init_mm`'s bits and its count, over boot, death and start: one of each for
/// every CPU that is online, but that only refcount counts.
pub(super) fn init_mm_is_balanced() -> Verdict {
    let Some(cpu) = last_cpu() else { return Ok(ONE_CPU) };
    let kernel = lazy_tlb();
    let balanced = |when: &str| {
        // Who borrows it from moment to moment varies, so everybody does.
        drain_borrows();
        let (init_mm, online) = (kernel.mm(MmId::INIT_MM), kernel.online());
        let mask = init_mm.cpumask().peek(kernel.nr_cpus());
        check!(mask == online, "init_mm's mask is not the CPUs that are online, {when}");
        let borrows = if policy() == Policy::Refcount { online.len() as u32 } else { 0 };
        check_eq!(init_mm.count(), 1 + borrows, format!("init_mm's count {when}"));
        Ok(())
    };
    balanced("since the boot")?;
    for round in 0..3 {
        while_offline(cpu, || {
            check_eq!(kernel.cpu(cpu).active_mm.peek(), MmId::NONE, "what a CPU has that is offline");
            balanced(&format!("while {cpu} is offline, round {round}"))
        })?;
        balanced(&format!("when {cpu} is back, round {round}"))?;
    }
    Ok(Outcome::Pass)
}
