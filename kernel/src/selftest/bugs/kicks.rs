//! CPUs that are asked to leave an mm and to flush: T4 to T6, T9, T10.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use arch::addr::PAGE_SIZE;
use arch::{percpu, uaccess};
use kcore::cpu::CpuId;
use kcore::lazy_tlb::Policy;
use kcore::machine::Point;
use kcore::mm::MmId;
use kcore::mm::flush::FlushRange;

use super::{ONE_CPU, end_of, part_on};
use crate::machine::lazy_tlb;
use crate::mm;
use crate::selftest::address_space::{map_written_page, new_mm};
use crate::selftest::coprocessor::FakeCoprocessor;
use crate::selftest::points::{self, Step};
use crate::selftest::stage::{
    Bill, drain_borrows, make_lazy, make_trim_due, move_to, new_mm_with_page, other_cpus, policy, total,
    wait_for, wind_trim_clock,
};
use crate::selftest::{Outcome, Verdict, check, check_eq};
use crate::task::kthread;

/// T4: a single-threaded process sends the lazies away while a kernel thread uses its
/// mm. The thread's CPU keeps its bit, or the next flush would miss it.
pub(super) fn kick_spares_the_users_bit() -> Verdict {
    /// 1: the thread is in. 2: the page was dropped twice. 3: the thread has read.
    static STAGE: AtomicU32 = AtomicU32::new(0);
    static READ: AtomicU64 = AtomicU64::new(u64::MAX);
    let kernel = lazy_tlb();
    let Some(&user) = other_cpus().first() else { return Ok(ONE_CPU) };
    drain_borrows();
    let before = Bill::now();
    let mm = new_mm()?;
    let page = map_written_page(mm)?;
    STAGE.store(0, Ordering::Relaxed);
    let thread = kthread::spawn_on(user, "test-user", move || {
        kernel.kthread_use_mm(mm);
        let _ = uaccess::load_user_u32(page);
        STAGE.store(1, Ordering::Release);
        // It stays on its CPU and in the mm: a stale translation would be left.
        while STAGE.load(Ordering::Acquire) == 1 {
            core::hint::spin_loop();
        }
        READ.store(uaccess::load_user_u32(page).map_or(u64::MAX, u64::from), Ordering::Relaxed);
        kernel.kthread_unuse_mm(mm);
    });
    let came = wait_for(|| STAGE.load(Ordering::Acquire) == 1);
    kernel.exec_mmap(mm);
    // The first is a kick. The second finds the thread's CPU only by its bit.
    let first = mm::madvise(mm, page, PAGE_SIZE, mm::Advice::DontNeed);
    let kept = kernel.mm(mm).cpumask().test(user);
    let poked = mm::poke(mm, page, &7u32.to_be_bytes());
    let second = mm::madvise(mm, page, PAGE_SIZE, mm::Advice::DontNeed);
    STAGE.store(2, Ordering::Release);
    thread.wait_exit();
    kernel.exit_mm();
    check!(came, "the thread never came into the mm");
    check!(first.is_ok() && second.is_ok() && poked.is_ok(), "the page cannot be changed");
    check!(kept, "the CPU of the thread that uses the mm lost its bit");
    check_eq!(READ.load(Ordering::Relaxed), 0, "what the thread read of a page that was dropped");
    end_of(&[], before, 1)
}

/// T5: two processes' CPUs kick the same lazy one. The second kick finds the bit
/// clear: it must flush all the same, and give nothing back twice.
pub(super) fn two_kicks_of_one_cpu() -> Verdict {
    let kernel = lazy_tlb();
    let [lazy, second, ..] = other_cpus()[..] else { return Ok(Outcome::Skip("fewer than three CPUs")) };
    let me = percpu::cpu_id();
    drain_borrows();
    let before = Bill::now();
    let mm = new_mm_with_page()?;
    make_lazy(&[lazy], mm);
    let flushes_of_lazy = || kernel.cpu(lazy).counters.tlbiel.get();
    let flushes_before = flushes_of_lazy();
    let play = points::play(&[
        Step::Mark(second),
        Step::reach(lazy, Point::EvictArrived),
        Step::reach(me, Point::CallPosted),
        Step::reach(second, Point::CallPosted),
        Step::leave(lazy, Point::EvictArrived),
    ]);
    let part = part_on(second, move || {
        kernel.kthread_use_mm(mm);
        points::mark();
        points::wait_until_passed(2);
        kernel.flush(mm, FlushRange::Everything);
        kernel.kthread_unuse_mm(mm);
    });
    kernel.exec_mmap(mm);
    points::wait_until_passed(1);
    kernel.flush(mm, FlushRange::Everything);
    points::finished();
    part.wait_exit();
    check_eq!(play.passed(), 5, "steps passed");
    drop(play);
    check_eq!(flushes_of_lazy() - flushes_before, 2, "flushes of the CPU that was kicked twice");
    check!(!kernel.mm(mm).cpumask().test(lazy), "the CPU that was kicked is in the mask");
    let stayed = kernel.cpu(lazy).active_mm.peek() == mm;
    check!(!stayed, "the CPU that was kicked still has the mm");
    let counted = kernel.mm(mm).count();
    // The users' unit; under refcount also the borrow of `second`.
    check_eq!(counted, 1 + u32::from(policy() == Policy::Refcount), "mm_count after both kicks");
    kernel.exit_mm();
    end_of(&[], before, 1)
}

/// T6: a CPU that is lazy on the mm trims itself in a flush of its own, and is kicked
/// in the middle: it leaves once.
pub(super) fn kick_during_a_self_trim() -> Verdict {
    let kernel = lazy_tlb();
    let Some(&other) = other_cpus().first() else { return Ok(ONE_CPU) };
    let me = percpu::cpu_id();
    drain_borrows();
    let before = Bill::now();
    let counts_of_init = kernel.mm(MmId::INIT_MM).count();
    let mm = new_mm_with_page()?;
    // Lazy here, with one user left: the test.
    kernel.mmget(mm);
    kernel.exec_mmap(mm);
    kernel.exit_mm();
    let play = points::play(&[
        Step::reach(me, Point::LeaveLazyHalf),
        Step::reach(other, Point::CallPosted),
        Step::leave(me, Point::LeaveLazyHalf),
    ]);
    let part = part_on(other, move || {
        points::wait_until_passed(1);
        kernel.kthread_use_mm(mm);
        kernel.flush(mm, FlushRange::Everything);
        kernel.kthread_unuse_mm(mm);
    });
    let one_page = FlushRange::Pages { start: 0, pages: 1 };
    let mut flushes = 0;
    while kernel.mm(mm).cpumask().test(me) && flushes <= kernel.config().trim_period {
        kernel.flush(mm, one_page);
        flushes += 1;
    }
    points::finished();
    part.wait_exit();
    drop(play);
    check!(flushes <= kernel.config().trim_period, "no trim in {flushes} flushes");
    drain_borrows();
    check_eq!(kernel.mm(mm).count(), 1, "mm_count after a trim and a kick");
    check_eq!(kernel.mm(MmId::INIT_MM).count(), counts_of_init, "mm_count of init_mm");
    end_of(&[mm], before, 1)
}

/// T6's later half: a CPU that trims itself has left and flushed, and is kicked before
/// its bit is clear. The second one finds the first done: had it been served in between,
/// its initiator would count on a CPU that is in the middle of leaving.
pub(super) fn kick_behind_the_flush() -> Verdict {
    static MM: AtomicU64 = AtomicU64::new(0);
    /// Whether the bit was set when the kick was served: 0 or 1.
    static BIT: AtomicU32 = AtomicU32::new(u32::MAX);
    fn look() {
        let mm = MmId::from_bits(MM.load(Ordering::Relaxed));
        let bit = lazy_tlb().mm(mm).cpumask().test(percpu::cpu_id());
        BIT.store(bit.into(), Ordering::Relaxed);
    }
    let kernel = lazy_tlb();
    let Some(&other) = other_cpus().first() else { return Ok(ONE_CPU) };
    let me = percpu::cpu_id();
    drain_borrows();
    let before = Bill::now();
    let mm = new_mm_with_page()?;
    MM.store(mm.to_bits(), Ordering::Relaxed);
    BIT.store(u32::MAX, Ordering::Relaxed);
    // Lazy here, with one user left: the test.
    kernel.mmget(mm);
    kernel.exec_mmap(mm);
    kernel.exit_mm();
    let flushes_here = || kernel.cpu(me).counters.tlbiel.get();
    let play = points::play(&[
        Step::reach(me, Point::EvictFlushed),
        Step::reach(other, Point::CallPosted),
        Step::leave(me, Point::EvictFlushed),
    ]);
    let part = part_on(other, move || {
        points::wait_until_passed(1);
        kernel.kthread_use_mm(mm);
        points::arm_for_anyone(Point::EvictArrived, look);
        make_trim_due();
        kernel.flush(mm, FlushRange::Everything);
        kernel.kthread_unuse_mm(mm);
    });
    make_trim_due();
    let flushes_before = flushes_here();
    kernel.flush(mm, FlushRange::Everything);
    points::finished();
    part.wait_exit();
    let (passed, flushes) = (play.passed(), flushes_here() - flushes_before);
    drop(play);
    points::disarm();
    let in_mask = kernel.mm(mm).cpumask().test(me);
    drain_borrows();
    check_eq!(passed, 3, "steps passed");
    check_eq!(flushes, 2, "flushes of the CPU, one for each");
    check_eq!(BIT.load(Ordering::Relaxed), 0, "bits that the second kick found");
    check!(!in_mask, "the CPU is in the mask after a trim and a kick");
    check_eq!(kernel.mm(mm).count(), 1, "mm_count after a trim and a kick");
    end_of(&[mm], before, 1)
}

/// T9: with a coprocessor attached every flush is broadcast, also those of a mm that
/// one CPU has, and the exit's after its kick. The oracle looks that they reach it.
pub(super) fn exit_with_a_coprocessor() -> Verdict {
    if !FakeCoprocessor::is_possible() {
        return Ok(Outcome::Skip("no broadcast would reach a coprocessor"));
    }
    let kernel = lazy_tlb();
    drain_borrows();
    let before = Bill::now();
    let mm = new_mm()?;
    let page = map_written_page(mm)?;
    let broadcasts = || total(|c| &c.tlbie);
    kernel.exec_mmap(mm);
    let alone = broadcasts();
    kernel.flush(mm, FlushRange::Translations);
    check_eq!(broadcasts() - alone, 0, "broadcasts of a flush that only this CPU needs");
    let coprocessor = FakeCoprocessor::attach(mm);
    kernel.flush(mm, FlushRange::Translations);
    check_eq!(broadcasts() - alone, 1, "broadcasts of a flush with a coprocessor");
    coprocessor.detach();
    check!(mm::madvise(mm, page, PAGE_SIZE, mm::Advice::DontNeed).is_ok(), "the page cannot be dropped");
    check_eq!(broadcasts() - alone, 2, "broadcasts with those of its end");
    let coprocessor = FakeCoprocessor::attach(mm);
    make_lazy(&other_cpus(), mm);
    let exit = broadcasts();
    kernel.exit_mm();
    check_eq!(broadcasts() - exit, 1, "broadcasts of an exit with a coprocessor");
    drain_borrows();
    check_eq!(Bill::now().since(before).freed, 0, "mms freed under a coprocessor");
    coprocessor.detach();
    end_of(&[], before, 1)
}

/// T10: the exiting task is asked to move between the kick and the local flush. It
/// goes after both, or the CPU that it left would be missed by either.
pub(super) fn exit_kick_stays_on_its_cpu() -> Verdict {
    fn ask_to_move() {
        move_to(CpuId::new(1));
    }
    let kernel = lazy_tlb();
    let others = other_cpus();
    if others.is_empty() {
        return Ok(ONE_CPU);
    }
    if policy() != Policy::Shootdown {
        return Ok(Outcome::Skip("only shootdown kicks"));
    }
    drain_borrows();
    let before = Bill::now();
    let mm = new_mm_with_page()?;
    make_lazy(&others, mm);
    kernel.exec_mmap(mm);
    let local_here = || kernel.cpu(CpuId::BOOT).counters.flush_local.get();
    let global = || total(|c| &c.flush_global);
    let (local_before, global_before) = (local_here(), global());
    wind_trim_clock();
    points::arm(Point::ExitEvicted, ask_to_move);
    kernel.exit_mm();
    let reached = points::times_reached();
    points::disarm();
    let bill = Bill::now().since(before);
    let flushes = (local_here() - local_before, global() - global_before);
    move_to(CpuId::BOOT);
    check_eq!(reached, 1, "exit flushes");
    check_eq!(bill.exit_kick, others.len() as u64, "CPUs kicked");
    check_eq!(flushes, (1, 0), "local flushes where the kick was sent from, and global ones");
    end_of(&[], before, 1)
}
