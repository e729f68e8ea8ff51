//! What a descheduled task keeps: T19.

use super::*;
use crate::task::WaitQueue;

/// T19: a kernel thread that has run on a borrowed mm has none while it sleeps and the mm's user
/// task runs on.
pub(super) fn descheduled_has_no_active_mm() -> Verdict {
    const ROUNDS: u32 = 20;
    /// Odd: the sleeper may run. Even: it has.
    static TURN: AtomicU32 = AtomicU32::new(0);
    static QUEUE: WaitQueue = WaitQueue::new();
    let is_turn = |turn: u32| TURN.load(Ordering::Acquire) == turn;
    let let_sleeper_run = |round: u32| {
        TURN.store(2 * round + 1, Ordering::Release);
        QUEUE.wake_one();
    };
    let cpu = CpuId::new(lazy_tlb().nr_cpus() - 1);
    let mut scene = Scene::new();
    let mm = scene.mm()?;
    TURN.store(0, Ordering::Relaxed);
    let sleeper = start_on(cpu, move || {
        let mut borrowed = MmId::NONE;
        for round in 0..ROUNDS {
            QUEUE.wait_until(|| is_turn(2 * round + 1));
            borrowed = lazy_tlb().cpu(cpu).active_mm.peek();
            TURN.store(2 * round + 2, Ordering::Release);
        }
        QUEUE.wait_until(|| is_turn(2 * ROUNDS + 1));
        borrowed
    });
    let seen = sleeper.task.clone();
    let user = start_on(cpu, move || {
        let (mut missed, mut kept) = (0, 0);
        lazy_tlb().exec_mmap(mm);
        for round in 0..ROUNDS {
            let_sleeper_run(round);
            missed += u32::from(!wait_for(|| is_turn(2 * round + 2)));
            // We run here, so it does not.
            kept += u32::from(seen.mm.active_mm().is_some());
        }
        lazy_tlb().exit_mm();
        let_sleeper_run(ROUNDS);
        (missed, kept)
    });
    let ((missed, kept), borrowed) = (user.result(), sleeper.result());
    check_eq!(missed, 0, "rounds in which the sleeper did not run");
    let expected = if owes().borrows { mm } else { MmId::INIT_MM };
    check_eq!(borrowed, expected, "what the kernel thread ran on after the user task");
    check_eq!(kept, 0, "rounds in which a sleeping kernel thread had an active_mm");
    scene.end(&[])
}
