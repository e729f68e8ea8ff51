//! Use of an mm by a kernel thread, and exec by one: T1 to T3.

use core::sync::atomic::{AtomicU64, Ordering};

use kcore::machine::Point;
use kcore::mm::MmId;
use powerpc64::addr::PAGE_SIZE;
use powerpc64::{percpu, uaccess};

use super::{ONE_CPU, end_of, part_on};
use crate::machine::lazy_tlb;
use crate::mm;
use crate::selftest::address_space::{map_written_page, new_mm};
use crate::selftest::points::{self, Step};
use crate::selftest::stage::{Bill, drain_borrows, make_lazy, move_task, new_mm_with_page, other_cpus};
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

/// T2: a kernel thread has stored its new `mm`, and the page changes before the MMU
/// has the mm: whatever the flusher decides, the thread reads the new page.
pub(super) fn use_mm_races_a_flush() -> Verdict {
    static READ: AtomicU64 = AtomicU64::new(u64::MAX);
    let kernel = lazy_tlb();
    let Some(&user) = other_cpus().first() else { return Ok(ONE_CPU) };
    let me = percpu::cpu_id();
    drain_borrows();
    let before = Bill::now();
    let mm = new_mm()?;
    let page = map_written_page(mm)?;
    let play = points::play(&[
        Step::Reach(user, Point::EnterMmHalf),
        Step::Reach(me, Point::FlushDecided),
        Step::Leave(user, Point::EnterMmHalf),
    ]);
    let part = part_on(user, move || {
        kernel.kthread_use_mm(mm);
        READ.store(uaccess::load_user_u32(page).map_or(u64::MAX, u64::from), Ordering::Relaxed);
        kernel.kthread_unuse_mm(mm);
    });
    points::wait_until_passed(1);
    let gone = mm::madvise_dontneed(mm, page, PAGE_SIZE);
    points::finished();
    part.wait_exit();
    check_eq!(play.passed(), 3, "steps passed");
    check!(gone.is_ok(), "madvise failed");
    check_eq!(READ.load(Ordering::Relaxed), 0, "what the thread read of a page that was dropped");
    end_of(&[mm], before, 1)
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
        Step::Reach(user, Point::EnterMmHalf),
        Step::Reach(me, Point::CallPosted),
        Step::Leave(user, Point::EnterMmHalf),
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
        Step::Reach(cpu, Point::EnterMmHalf),
        Step::Mark(me),
        Step::Leave(cpu, Point::EnterMmHalf),
    ]);
    let part = part_on(cpu, move || {
        kernel.exec_mmap(new);
        kernel.exit_mm();
    });
    points::wait_until_passed(1);
    let intruder = kthread::spawn_on(cpu, "intruder", move || {
        FOUND.store(kernel.cpu(cpu).active_mm.get().to_bits(), Ordering::Relaxed);
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
