//! Reports two things that would hang the machine silently: a task that stays although it was asked
//! to go, and a CPU that takes no interrupts.
//!
//! There is no periodic tick for this. A CPU looks, by its decrementer, only after one of two
//! events:
//!
//! * the slice of its task ended while preemption was off and others waited: it looks
//!   ten times in [`limits::stay_ms`] whether the task has gone ([`expect_to_go`]);
//! * it sent another CPU an interrupt, or gave it a task to run after a slice that is timed: it
//!   looks once, when the limit has passed, whether all CPUs have taken the interrupts that were
//!   due ([`expect_answer`], [`expect_slice_to_end`]). One look covers all such events meanwhile.
//!
//! So an idle machine is not disturbed. Both verdicts take more than one look: a host that stops
//! the whole machine makes the clock jump, and that is no hang. A hung CPU is noticed only when
//! another CPU needs it; a hang of the only CPU, with interrupts off, never is.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use arch::{percpu, timer};
use kcore::machine::IrqsOff;

use super::cpu::{self, Cpu, ONLINE};
use super::report::Running;
use crate::limits;

/// Looks at a task before it counts as having stayed too long.
const LOOKS: u32 = 10;
/// No look is due.
const NEVER: u64 = u64::MAX;

/// One CPU's part. Except for `asked_tb`, only that CPU uses it, with interrupts off.
pub(super) struct Watch {
    /// Since when an interrupt from another CPU waits to be taken; 0 for none. Stored before the
    /// interrupt is sent, cleared by its handler; relaxed: sending the interrupt orders the store
    /// before the handler.
    asked_tb: AtomicU64,
    /// Looks at the running task since it was asked to go; 0 if it was not.
    looks: AtomicU32,
    /// When this CPU looks next.
    look_tb: AtomicU64,
    /// The `owes_since` of the CPU that was late at the last look; 0 for none.
    late_tb: AtomicU64,
}

impl Watch {
    pub(super) const fn new() -> Self {
        Self {
            asked_tb: AtomicU64::new(0),
            looks: AtomicU32::new(0),
            look_tb: AtomicU64::new(NEVER),
            late_tb: AtomicU64::new(0),
        }
    }

    /// This CPU has just come up: no CPU waits for it, and no look is due.
    pub(super) fn restart(&self) {
        self.asked_tb.store(0, Ordering::Relaxed);
        self.looks.store(0, Ordering::Relaxed);
        self.look_tb.store(NEVER, Ordering::Relaxed);
        self.late_tb.store(0, Ordering::Relaxed);
    }

    /// This CPU schedules: its task does not stay on against a request to go.
    #[inline(always)]
    pub(super) fn went(&self) {
        self.looks.store(0, Ordering::Relaxed);
    }

    /// This CPU has taken an interrupt.
    #[inline(always)]
    pub(super) fn answer(&self) {
        if self.asked_tb.load(Ordering::Relaxed) != 0 {
            self.asked_tb.store(0, Ordering::Relaxed);
        }
    }

    /// Looks at `deadline_tb` or before.
    fn look_at(&self, cpu: &Cpu, deadline_tb: u64) {
        if deadline_tb < self.look_tb.load(Ordering::Relaxed) {
            self.look_tb.store(deadline_tb, Ordering::Relaxed);
            cpu.clock.arm(deadline_tb);
        }
    }
}

/// `me` is about to interrupt `target`, and will check that the interrupt is taken. Interrupts off.
#[inline]
pub(super) fn expect_answer(me: &Cpu, target: &Cpu) {
    let now_tb = timer::now_tb();
    // Only the first waiting interrupt counts. If two CPUs both find 0, either time will do.
    if target.watch.asked_tb.load(Ordering::Relaxed) == 0 {
        target.watch.asked_tb.store(now_tb, Ordering::Relaxed);
    }
    me.watch.look_at(me, now_tb + limit_tb());
}

/// A task waits for a slice to end on a CPU that has its timer set; by the CPU `me`.
#[inline]
pub(super) fn expect_slice_to_end(me: &Cpu, _: &IrqsOff) {
    if me.watch.look_tb.load(Ordering::Relaxed) == NEVER {
        me.watch.look_at(me, timer::now_tb() + limit_tb());
    }
}

/// The slice of the running task is over, others wait, and it was asked to go. From
/// the timer's interrupt.
pub(super) fn expect_to_go(cpu: &Cpu) {
    // With preemption on it goes on the way back from this interrupt.
    if percpu::preempt_count() != 0 && cpu.watch.looks.load(Ordering::Relaxed) == 0 {
        cpu.watch.looks.store(1, Ordering::Relaxed);
        cpu.watch.look_at(cpu, timer::now_tb() + limit_tb() / u64::from(LOOKS));
    }
}

/// The timer's interrupt: looks, if it is time.
pub(super) fn tick(cpu: &Cpu) {
    let due_tb = cpu.watch.look_tb.load(Ordering::Relaxed);
    let now_tb = timer::now_tb();
    if due_tb > now_tb {
        // The caller has set the decrementer far away.
        return cpu.clock.arm(due_tb);
    }
    cpu.watch.look_tb.store(NEVER, Ordering::Relaxed);
    look_at_task(cpu, now_tb);
    look_at_others(cpu, now_tb);
}

/// Checks that the running task, which was asked to go, has gone.
fn look_at_task(cpu: &Cpu, now_tb: u64) {
    let looks = cpu.watch.looks.load(Ordering::Relaxed);
    let waiting = cpu.queue.len();
    if looks == 0 || waiting == 0 {
        // It went, or the waiting tasks have found another CPU.
        return cpu.watch.went();
    }
    assert!(
        looks < LOOKS,
        "{} has kept {} for {} ms with preemption off (count {}), while {waiting} wait for it",
        Running(cpu.area),
        cpu.id,
        limits::stay_ms(),
        percpu::preempt_count()
    );
    cpu.watch.looks.store(looks + 1, Ordering::Relaxed);
    cpu.watch.look_at(cpu, now_tb + limit_tb() / u64::from(LOOKS));
}

/// Checks that all CPUs have taken the interrupts that they were sent.
fn look_at_others(me: &Cpu, now_tb: u64) {
    let mut late_tb = 0;
    // A CPU that goes offline is watched by the task that takes it there.
    for cpu in cpu::all().iter().filter(|cpu| ONLINE.contains(cpu.id)) {
        let Some(since_tb) = owes_since(cpu) else { continue };
        // The request may be younger than our reading of the clock.
        let waits_tb = now_tb.saturating_sub(since_tb);
        if waits_tb < limit_tb() {
            me.watch.look_at(me, since_tb + limit_tb());
            continue;
        }
        assert!(
            since_tb != me.watch.late_tb.load(Ordering::Relaxed),
            "{} has taken no interrupt for {} ms: interrupts are off there",
            cpu.id,
            waits_tb / (timer::ticks_per_us() * 1000)
        );
        late_tb = since_tb;
    }
    me.watch.late_tb.store(late_tb, Ordering::Relaxed);
    if late_tb != 0 {
        me.watch.look_at(me, now_tb + limit_tb() / u64::from(LOOKS));
    }
}

/// Since when an interrupt is due on `cpu`, from another CPU or from its timer.
fn owes_since(cpu: &Cpu) -> Option<u64> {
    let asked_tb = cpu.watch.asked_tb.load(Ordering::Relaxed);
    let timed_tb = if cpu.queue.len() == 0 { 0 } else { cpu.clock.timed_since_tb() };
    [asked_tb, timed_tb].into_iter().filter(|&since_tb| since_tb != 0).min()
}

fn limit_tb() -> u64 {
    limits::stay_ms() * 1000 * timer::ticks_per_us()
}
