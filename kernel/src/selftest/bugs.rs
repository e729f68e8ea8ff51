//! The bugs that lazy TLB has had, each provoked by name.
//!
//! T1 to T20 are the protocol's list of bugs that happened, in Linux or on the way
//! there. A test forces the interleaving that made the bug, at named points of the
//! real code, and asks for what the bug spoilt. Elsewhere: T7, T8 and T11 need
//! CPUs that come and go; T12 does not apply to radix; T18 (membarrier's litmus)
//! only a model can see; T20 ends the kernel, so it is a crash (`crash=mmdrop-…`).

use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use kcore::cpu::CpuId;
use kcore::lazy_tlb::Policy;
use kcore::machine::{Machine, Point};
use kcore::mm::MmId;
use kcore::mm::flush::FlushRange;
use powerpc64::addr::PAGE_SIZE;
use powerpc64::{percpu, timer, uaccess};

use super::address_space::{map_written_page, new_mm};
use super::coprocessor::FakeCoprocessor;
use super::lazy::{
    Bill, drain_borrows, exec_by_kernel_thread, exit_alone, exit_migrated_before_mmdrop, exit_without_pages,
    make_lazy, move_task, move_to, new_mm_with_page, other_cpus, outsider_drops_last, policy, total,
    use_mm_counts_return,
};
use super::points::{self, Step};
use super::random::{self, Random};
use super::{Outcome, Test, Verdict, check, check_eq};
use crate::machine::{call_function, lazy_tlb};
use crate::sync::WaitQueue;
use crate::task::{self, TaskRef, kthread};
use crate::{mm, println};

pub(super) const TESTS: &[Test] = &[
    Test::new("t01_use_mm_leak", use_mm_counts_return),
    Test::new("t02_use_mm_races_a_flush", use_mm_races_a_flush),
    Test::new("t02_use_mm_races_a_shoot", use_mm_races_a_shoot),
    Test::new("t03_exec_by_a_lazy_thread", exec_by_kernel_thread),
    Test::new("t03_exec_is_not_preempted", exec_is_not_preempted),
    Test::new("t04_kick_spares_the_users_bit", kick_spares_the_users_bit),
    Test::new("t05_two_kicks_of_one_cpu", two_kicks_of_one_cpu),
    Test::new("t06_kick_during_a_self_trim", kick_during_a_self_trim),
    Test::new("t09_exit_with_a_coprocessor", exit_with_a_coprocessor),
    Test::new("t10_exit_kick_stays_on_its_cpu", exit_kick_stays_on_its_cpu),
    Test::new("t13_last_thread_shoots_itself", exit_alone),
    Test::new("t14_exit_migrates_before_mmdrop", exit_migrated_before_mmdrop),
    Test::new("t15_mm_without_pages", exit_without_pages),
    Test::new("t16_outsider_drops_the_last", outsider_drops_last),
    Test::new("t17_pid_is_loaded_nowhere", pid_is_loaded_nowhere),
    Test::new("t19_descheduled_has_no_active_mm", descheduled_has_no_active_mm),
    Test { limit_s: 60, ..Test::new("orders_drawn_at_random", orders_drawn_at_random) },
];

/// The reason to skip a test that needs another CPU.
const ONE_CPU: Outcome = Outcome::Skip("one CPU");

/// Runs `f` in a kernel thread on `cpu`, where it has a part in the script.
fn part_on(cpu: CpuId, f: impl FnOnce() + Send + 'static) -> TaskRef {
    kthread::spawn_on(cpu, "test-part", move || {
        f();
        points::finished();
    })
}

/// Gives the CPU away until `done`, for ten seconds at most; whether it came.
fn wait_for(done: impl Fn() -> bool) -> bool {
    let limit_tb = timer::now_tb() + 10_000_000 * timer::ticks_per_us();
    while !done() && timer::now_tb() < limit_tb {
        task::yield_now();
    }
    done()
}

/// Ends an mm whose last user is the test; fails unless that frees all `n` that the
/// test made.
fn end_of(mms: &[MmId], before: Bill, n: u64) -> Verdict {
    mms.iter().for_each(|&mm| lazy_tlb().mmput(mm));
    drain_borrows();
    check_eq!(Bill::now().since(before).freed, n, "mms freed");
    Ok(Outcome::Pass)
}

/// T2: a kernel thread has stored its new `mm`, and the page changes before the MMU
/// has the mm: whatever the flusher decides, the thread reads the new page.
fn use_mm_races_a_flush() -> Verdict {
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
fn use_mm_races_a_shoot() -> Verdict {
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

/// T3: a lazy kernel thread in the middle of its exec is asked to move, and another
/// thread, which changes what the CPU has loaded, waits for it to go. It goes after
/// the exec's switch.
fn exec_is_not_preempted() -> Verdict {
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

/// T4: a single-threaded process sends the lazies away while a kernel thread uses its
/// mm. The thread's CPU keeps its bit, or the next flush would miss it.
fn kick_spares_the_users_bit() -> Verdict {
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
    let first = mm::madvise_dontneed(mm, page, PAGE_SIZE);
    let kept = kernel.mm(mm).cpumask().test(user);
    let poked = mm::poke(mm, page, &7u32.to_be_bytes());
    let second = mm::madvise_dontneed(mm, page, PAGE_SIZE);
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
fn two_kicks_of_one_cpu() -> Verdict {
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
        Step::Reach(lazy, Point::KickArrived),
        Step::Reach(me, Point::CallPosted),
        Step::Reach(second, Point::CallPosted),
        Step::Leave(lazy, Point::KickArrived),
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
    let stayed = kernel.cpu(lazy).active_mm.get() == mm;
    check!(!stayed, "the CPU that was kicked still has the mm");
    let counted = kernel.mm(mm).count();
    // The users' unit; under refcount also the borrow of `second`.
    check_eq!(counted, 1 + u32::from(policy() == Policy::Refcount), "mm_count after both kicks");
    kernel.exit_mm();
    end_of(&[], before, 1)
}

/// T6: a CPU that is lazy on the mm trims itself in a flush of its own, and is kicked
/// in the middle: it leaves once.
fn kick_during_a_self_trim() -> Verdict {
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
        Step::Reach(me, Point::LeaveLazyHalf),
        Step::Reach(other, Point::CallPosted),
        Step::Leave(me, Point::LeaveLazyHalf),
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

/// T9: with a coprocessor attached every flush is broadcast, also those of a mm that
/// one CPU has, and the exit's after its kick. The oracle looks that they reach it.
fn exit_with_a_coprocessor() -> Verdict {
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
    check!(mm::madvise_dontneed(mm, page, PAGE_SIZE).is_ok(), "the page cannot be dropped");
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
fn exit_kick_stays_on_its_cpu() -> Verdict {
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
    points::arm(Point::ExitFlushKicked, ask_to_move);
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

/// T17: when the last reference is gone and the policy has done its part, no CPU's PID
/// register has the PID, by its own word; and the next mm has it.
fn pid_is_loaded_nowhere() -> Verdict {
    const ROUNDS: u64 = 4;
    static PID: AtomicU32 = AtomicU32::new(0);
    static HOLDERS: AtomicU32 = AtomicU32::new(0);
    fn look(_: u64) {
        if powerpc64::mmu::loaded_pid().get() == PID.load(Ordering::Relaxed) {
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

/// T19: a kernel thread that has run on a borrowed mm and sleeps has none, while the
/// user task that it ran in between runs on.
fn descheduled_has_no_active_mm() -> Verdict {
    const ROUNDS: u32 = 20;
    static TURN: AtomicU32 = AtomicU32::new(0);
    static QUEUE: WaitQueue = WaitQueue::new();
    /// What the sleeper had while it ran; and how often it kept something, or never came.
    static BORROWED: AtomicU64 = AtomicU64::new(0);
    static KEPT: AtomicU32 = AtomicU32::new(0);
    static MISSED: AtomicU32 = AtomicU32::new(0);
    let kernel = lazy_tlb();
    let cpu = CpuId::new(kernel.nr_cpus() - 1);
    drain_borrows();
    let before = Bill::now();
    let mm = new_mm_with_page()?;
    [&TURN, &KEPT, &MISSED].iter().for_each(|cell| cell.store(0, Ordering::Relaxed));
    let sleeper = kthread::spawn_on(cpu, "test-sleeper", || {
        for round in 0..ROUNDS {
            QUEUE.wait_until(|| TURN.load(Ordering::Acquire) == 2 * round + 1);
            BORROWED.store(task::current().mm.active_mm().to_bits(), Ordering::Relaxed);
            TURN.store(2 * round + 2, Ordering::Release);
        }
        QUEUE.wait_until(|| TURN.load(Ordering::Acquire) == 2 * ROUNDS + 1);
    });
    let seen = sleeper.clone();
    let user = kthread::spawn_on(cpu, "test-user", move || {
        kernel.exec_mmap(mm);
        for round in 0..ROUNDS {
            TURN.store(2 * round + 1, Ordering::Release);
            QUEUE.wake_one();
            if !wait_for(|| TURN.load(Ordering::Acquire) == 2 * round + 2) {
                MISSED.fetch_add(1, Ordering::Relaxed);
            }
            // We run here, so it does not.
            if seen.mm.active_mm().is_some() {
                KEPT.fetch_add(1, Ordering::Relaxed);
            }
        }
        kernel.exit_mm();
        TURN.store(2 * ROUNDS + 1, Ordering::Release);
        QUEUE.wake_one();
    });
    user.wait_exit();
    sleeper.wait_exit();
    let borrowed = MmId::from_bits(BORROWED.load(Ordering::Relaxed));
    check_eq!(MISSED.load(Ordering::Relaxed), 0, "rounds in which the sleeper did not run");
    let expected = if policy() == Policy::Eager { MmId::INIT_MM } else { mm };
    check_eq!(borrowed, expected, "what the kernel thread ran on after the user task");
    check_eq!(KEPT.load(Ordering::Relaxed), 0, "rounds in which a sleeping kernel thread had an active_mm");
    end_of(&[], before, 1)
}

/// The exit, uses, flushes and migrations of one mm at once, on up to four CPUs, in
/// orders drawn from the seed and forced point by point.
fn orders_drawn_at_random() -> Verdict {
    const ROUNDS: usize = 30;
    const STEPS: usize = 24;
    let kernel = lazy_tlb();
    let cpus: Vec<CpuId> = kernel.online().iter().take(4).collect();
    if cpus.len() < 2 {
        return Ok(ONE_CPU);
    }
    let seed = random::seed();
    println!("# seed={seed}");
    let mut random = Random::new(seed);
    for round in 0..ROUNDS {
        drain_borrows();
        let before = Bill::now();
        let mm = new_mm_with_page()?;
        make_lazy(&cpus, mm);
        let steps: Vec<Step> = (0..STEPS).map(|_| Step::Any(cpus[random.below(cpus.len())])).collect();
        let play = points::play(&steps);
        // This CPU's last: its part may keep us from starting another.
        let parts: Vec<TaskRef> = cpus
            .iter()
            .rev()
            .map(|&cpu| {
                let part = PARTS[random.below(PARTS.len())];
                kernel.mmget(mm);
                part_on(cpu, move || part(mm))
            })
            .collect();
        parts.iter().for_each(|part| part.wait_exit());
        drop(play);
        end_of(&[mm], before, 1).map_err(|why| alloc::format!("round {round} of seed={seed}: {why}"))?;
    }
    Ok(Outcome::Pass)
}

/// What a CPU may do with an mm of which it has one user's unit.
const PARTS: &[fn(MmId)] = &[run_and_exit, use_and_flush, outlive, exec_away];

fn run_and_exit(mm: MmId) {
    lazy_tlb().exec_mmap(mm);
    lazy_tlb().exit_mm();
}

fn use_and_flush(mm: MmId) {
    lazy_tlb().kthread_use_mm(mm);
    lazy_tlb().flush(mm, FlushRange::Everything);
    lazy_tlb().kthread_unuse_mm(mm);
    lazy_tlb().mmput(mm);
}

fn outlive(mm: MmId) {
    lazy_tlb().mmgrab(mm);
    lazy_tlb().mmput(mm);
    lazy_tlb().mmdrop(mm);
}

fn exec_away(mm: MmId) {
    lazy_tlb().exec_mmap(mm);
    lazy_tlb().mmget(mm);
    lazy_tlb().exec_mmap(mm);
    lazy_tlb().flush(mm, FlushRange::Translations);
    lazy_tlb().exit_mm();
}
