//! Use of an mm by a kernel thread, and exec by one: T1 to T3.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use arch::addr::PAGE_SIZE;
use arch::{percpu, uaccess};
use kcore::machine::Point;
use kcore::mm::MmId;
use kcore::mm::flush::FlushRange;

use super::{ONE_CPU, UNREAD, end_of, part_on, read_on};
use crate::machine::lazy_tlb;
use crate::mm;
use crate::selftest::address_space::{map_written_page, new_mm};
use crate::selftest::points::{self, Step};
use crate::selftest::stage::{
    Bill, drain_borrows, make_lazy, make_trim_due, move_task, new_mm_with_page, other_cpus,
};
use crate::selftest::{Outcome, Verdict, check, check_eq};
use crate::task::kthread;

/// T1: uses of an mm leave its count as it was, whether the thread was lazy on
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

/// T2: a kernel thread has stored its new `mm` on a CPU whose bit is still in the mask,
/// and the only process that runs the mm drops a page of it. The kick comes when the MMU
/// has the mm, not in between, and the thread reads the new page.
pub(super) fn use_mm_races_a_flush() -> Verdict {
    static READ: AtomicU32 = AtomicU32::new(UNREAD);
    let kernel = lazy_tlb();
    let Some(&user) = other_cpus().first() else { return Ok(ONE_CPU) };
    let me = percpu::cpu_id();
    drain_borrows();
    let before = Bill::now();
    let mm = new_mm()?;
    let page = map_written_page(mm)?;
    let old = read_on(user, mm, page);
    // Who leaves by a switch keeps its bit, and what its TLB holds.
    drain_borrows();
    let left = kernel.cpu(user).active_mm.peek() != mm;
    check!(left && kernel.mm(mm).cpumask().test(user), "the CPU is not in the mask alone");
    kernel.exec_mmap(mm);
    let play = points::play(&[
        Step::reach(user, Point::EnterMmHalf),
        Step::reach(me, Point::CallPosted),
        Step::leave(user, Point::EnterMmHalf),
    ]);
    let part = part_on(user, move || {
        kernel.kthread_use_mm(mm);
        READ.store(uaccess::load_user_u32(page).unwrap_or(UNREAD), Ordering::Relaxed);
        kernel.kthread_unuse_mm(mm);
    });
    points::wait_until_passed(1);
    let gone = mm::madvise(mm, page, PAGE_SIZE, mm::Advice::DontNeed);
    points::finished();
    part.wait_exit();
    let passed = play.passed();
    drop(play);
    kernel.exit_mm();
    check_eq!(passed, 3, "steps passed");
    check!(gone.is_ok(), "madvise failed");
    check_eq!((old, READ.load(Ordering::Relaxed)), (0x1122_3344, 0), "what was read before and after");
    end_of(&[], before, 1)
}

/// T2: the mm that the thread is leaving dies at that moment. The IPI that is to send
/// it away comes when it has loaded the new one, not in between.
pub(super) fn use_mm_races_a_shoot() -> Verdict {
    let kernel = lazy_tlb();
    let Some(&user) = other_cpus().first() else { return Ok(ONE_CPU) };
    let me = percpu::cpu_id();
    drain_borrows();
    let before = Bill::now();
    let (old, new) = (new_mm_with_page()?, new_mm_with_page()?);
    make_lazy(&[user], old);
    let play = points::play(&[
        Step::reach(user, Point::EnterMmHalf),
        Step::reach(me, Point::CallPosted),
        Step::leave(user, Point::EnterMmHalf),
    ]);
    let part = part_on(user, move || {
        kernel.kthread_use_mm(new);
        kernel.kthread_unuse_mm(new);
    });
    points::wait_until_passed(1);
    kernel.mmput(old);
    points::finished();
    part.wait_exit();
    check!(play.passed() >= 1, "the thread never came between two mms");
    drop(play);
    drain_borrows();
    check_eq!((kernel.mm(new).users(), kernel.mm(new).count()), (1, 1), "counts of the mm that was used");
    end_of(&[new], before, 2)
}

/// T2 the other way round: a task has given up its `mm` and does not borrow it yet. The
/// kick comes when the borrow is there to be ended, or what it ends would begin behind it.
fn giving_up_races_a_kick(user_part: fn(MmId), users: u32) -> Verdict {
    let kernel = lazy_tlb();
    let Some(&user) = other_cpus().first() else { return Ok(ONE_CPU) };
    let me = percpu::cpu_id();
    drain_borrows();
    let before = Bill::now();
    let mm = new_mm_with_page()?;
    kernel.exec_mmap(mm);
    (1..users).for_each(|_| kernel.mmget(mm));
    let play = points::play(&[
        Step::reach(user, Point::GiveUpHalf),
        Step::reach(me, Point::CallPosted),
        Step::leave(user, Point::GiveUpHalf),
    ]);
    let part = part_on(user, move || user_part(mm));
    points::wait_until_passed(1);
    // With several users only a trim is a kick.
    make_trim_due();
    kernel.flush(mm, FlushRange::Everything);
    points::finished();
    let stayed = kernel.cpu(user).active_mm.peek() == mm || kernel.mm(mm).cpumask().test(user);
    part.wait_exit();
    let passed = play.passed();
    drop(play);
    let counts = (kernel.mm(mm).users(), kernel.mm(mm).count());
    kernel.exit_mm();
    check_eq!(passed, 3, "steps passed");
    check!(!stayed, "the CPU that gave the mm up has it after the kick, or its bit in the mask");
    check_eq!(counts, (1, 1), "mm_users and mm_count of the mm that was given up");
    end_of(&[], before, 1)
}

/// By a thread that exits, while another one runs on.
pub(super) fn exit_races_a_kick() -> Verdict {
    fn run_and_exit(mm: MmId) {
        lazy_tlb().exec_mmap(mm);
        lazy_tlb().exit_mm();
    }
    giving_up_races_a_kick(run_and_exit, 2)
}

/// By a kernel thread that has used the mm of the only thread that runs it.
pub(super) fn unuse_mm_races_a_kick() -> Verdict {
    fn use_and_unuse(mm: MmId) {
        lazy_tlb().kthread_use_mm(mm);
        lazy_tlb().kthread_unuse_mm(mm);
    }
    giving_up_races_a_kick(use_and_unuse, 1)
}

/// T3's ledger: a lazy kernel thread execs: the old borrow is given back once.
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

/// T3: a lazy kernel thread in the middle of its exec is asked to move, and another
/// thread, which changes what the CPU has loaded, waits for it to go. It goes after
/// the exec's switch.
pub(super) fn exec_is_not_preempted() -> Verdict {
    /// What the CPU had loaded when the other thread came.
    static FOUND: AtomicU64 = AtomicU64::new(0);
    let kernel = lazy_tlb();
    let Some(&cpu) = other_cpus().first() else { return Ok(ONE_CPU) };
    let me = percpu::cpu_id();
    drain_borrows();
    let before = Bill::now();
    let (old, new, third) = (new_mm_with_page()?, new_mm_with_page()?, new_mm_with_page()?);
    make_lazy(&[cpu], old);
    let play = points::play(&[
        Step::reach(cpu, Point::EnterMmHalf),
        Step::Mark(me),
        Step::leave(cpu, Point::EnterMmHalf),
    ]);
    let part = part_on(cpu, move || {
        kernel.exec_mmap(new);
        kernel.exit_mm();
    });
    points::wait_until_passed(1);
    let intruder = kthread::spawn_on(cpu, "intruder", move || {
        FOUND.store(kernel.cpu(cpu).active_mm.peek().to_bits(), Ordering::Relaxed);
        kernel.kthread_use_mm(third);
        kernel.kthread_unuse_mm(third);
    });
    move_task(&part, me);
    // The interrupt that makes it go is on its way: were it taken at the point, it
    // would be taken before the CPU sees this.
    points::mark();
    points::finished();
    part.wait_exit();
    intruder.wait_exit();
    check_eq!(play.passed(), 3, "steps passed");
    let found = MmId::from_bits(FOUND.load(Ordering::Relaxed));
    check!(found != old, "another thread ran in the middle of the exec's switch, on {old:?}");
    end_of(&[old, third], before, 3)
}
