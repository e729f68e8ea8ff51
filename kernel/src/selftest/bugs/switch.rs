//! What a task keeps that does not run: T19.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use kcore::cpu::CpuId;
use kcore::lazy_tlb::Policy;
use kcore::mm::MmId;

use super::end_of;
use crate::machine::lazy_tlb;
use crate::selftest::stage::{Bill, drain_borrows, new_mm_with_page, policy, wait_for};
use crate::selftest::{Verdict, check_eq};
use crate::sync::WaitQueue;
use crate::task::{self, kthread};

/// T19: a kernel thread that has run on a borrowed mm and sleeps has none, while the
/// user task that it ran in between runs on.
pub(super) fn descheduled_has_no_active_mm() -> Verdict {
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
