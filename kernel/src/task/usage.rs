//! The usage of a task: CPU time, switches, page faults.
//!
//! Written by the CPU that the task runs on, in the task's own lines; read by any.

use core::sync::atomic::{AtomicU64, Ordering};

use arch::timer;

use super::descriptor::Task;
use super::switch::Leave;

/// How long a task has run, in one word, so that it can be read while it changes. Without the mark:
/// the ticks of the time base that it ran. With the mark: it runs, and the word is when it would
/// have started had it run all its time without a break.
struct RunTime(AtomicU64);

/// The mark of a task that runs. The time base does not get that far.
const RUNS: u64 = 1 << 63;

impl RunTime {
    const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// The task gets a CPU.
    #[inline]
    fn start(&self, now_tb: u64) {
        self.0.store(now_tb.wrapping_sub(self.0.load(Ordering::Relaxed)) | RUNS, Ordering::Relaxed);
    }

    /// The task leaves its CPU.
    #[inline]
    fn stop(&self, now_tb: u64) {
        self.0.store(now_tb.wrapping_sub(self.0.load(Ordering::Relaxed) & !RUNS), Ordering::Relaxed);
    }

    fn get_tb(&self) -> u64 {
        match self.0.load(Ordering::Relaxed) {
            ran_tb if ran_tb & RUNS == 0 => ran_tb,
            start => timer::now_tb().saturating_sub(start & !RUNS),
        }
    }
}

/// The counts of one task.
pub(super) struct Counts {
    ran: RunTime,
    /// Switches away from it: voluntary ones (a wait, the exit), then the others.
    switches: [AtomicU64; 2],
    /// Page faults that were resolved.
    faults: AtomicU64,
}

impl Counts {
    pub(super) const fn new() -> Self {
        Self { ran: RunTime::new(), switches: [const { AtomicU64::new(0) }; 2], faults: AtomicU64::new(0) }
    }

    /// The task is switched to.
    #[inline]
    pub(super) fn enter(&self, now_tb: u64) {
        self.ran.start(now_tb);
    }

    /// The task is switched away from.
    #[inline]
    pub(super) fn leave(&self, why: Leave, now_tb: u64) {
        self.ran.stop(now_tb);
        bump(&self.switches[usize::from(why == Leave::Yield)]);
    }
}

/// Adds one to a counter with one writer.
#[inline]
fn bump(counter: &AtomicU64) {
    counter.store(counter.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
}

/// The usage of one task or of several.
#[derive(Clone, Copy, Default)]
pub(crate) struct Usage {
    /// Ticks of the time base on a CPU.
    pub(crate) ran_tb: u64,
    /// Waits.
    pub(crate) voluntary_switches: u64,
    /// Times that another task got the CPU although this one could go on.
    pub(crate) involuntary_switches: u64,
    /// Page faults.
    pub(crate) faults: u64,
}

impl core::ops::AddAssign for Usage {
    fn add_assign(&mut self, more: Self) {
        self.ran_tb += more.ran_tb;
        self.voluntary_switches += more.voluntary_switches;
        self.involuntary_switches += more.involuntary_switches;
        self.faults += more.faults;
    }
}

impl Task {
    /// Its usage until now. Any context.
    pub(crate) fn usage(&self) -> Usage {
        let [voluntary, involuntary] = &self.counts.switches;
        Usage {
            ran_tb: self.counts.ran.get_tb(),
            voluntary_switches: voluntary.load(Ordering::Relaxed),
            involuntary_switches: involuntary.load(Ordering::Relaxed),
            faults: self.counts.faults.load(Ordering::Relaxed),
        }
    }

    /// Counts a resolved page fault of the running task.
    #[inline]
    pub(crate) fn count_fault(&self) {
        bump(&self.counts.faults);
    }
}
