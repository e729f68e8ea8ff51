//! A thread's wishes to the scheduler: policy, priority, niceness.
//!
//! They are kept, inherited and reported as Linux does. The order in which tasks run does not
//! depend on them: there is one queue per CPU, first come, first served.

use core::sync::atomic::{AtomicU32, Ordering};

use crate::errno::Errno;

/// A policy, by Linux's number.
pub(crate) type Policy = u8;

/// The default policy.
pub(crate) const SCHED_OTHER: Policy = 0;
/// A thread runs until it waits.
pub(crate) const SCHED_FIFO: Policy = 1;
/// Threads take turns.
pub(crate) const SCHED_RR: Policy = 2;
/// OTHER, for work in the background.
pub(crate) const SCHED_BATCH: Policy = 3;
/// OTHER, for work when nothing else runs.
pub(crate) const SCHED_IDLE: Policy = 5;

/// The least nice: a lower niceness asks for more time.
pub(crate) const NICE_MIN: i32 = -20;
/// The nicest.
pub(crate) const NICE_MAX: i32 = 19;

/// The wishes of a thread.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Parameters {
    /// One of the policies above.
    pub(crate) policy: Policy,
    /// 1 to 99 for FIFO and RR, 0 for the others.
    pub(crate) priority: u8,
    /// Niceness, for the policies without priorities.
    pub(crate) nice: i8,
    /// Children have the default policy.
    pub(crate) reset_on_fork: bool,
}

/// The parameters that a new process starts with.
const DEFAULT: Parameters = Parameters { policy: SCHED_OTHER, priority: 0, nice: 0, reset_on_fork: false };

impl Parameters {
    /// Whether the policy is one with priorities.
    pub(crate) fn is_real_time(self) -> bool {
        matches!(self.policy, SCHED_FIFO | SCHED_RR)
    }

    /// Whether policy and priority fit each other.
    ///
    /// # Errors
    /// `EINVAL` if not. SCHED_DEADLINE is no policy here.
    pub(crate) fn check(self) -> Result<Self, Errno> {
        let known = matches!(self.policy, SCHED_OTHER..=SCHED_BATCH | SCHED_IDLE);
        let fits = self.is_real_time() == (1..=99).contains(&self.priority);
        if known && fits && (self.is_real_time() || self.priority == 0) {
            Ok(self)
        } else {
            Err(Errno::EINVAL)
        }
    }

    /// The parameters that a child starts with (Linux: `sched_fork`).
    fn of_child(self) -> Self {
        match self {
            Parameters { reset_on_fork: false, .. } => self,
            _ if self.is_real_time() => DEFAULT,
            _ => Parameters { nice: self.nice.max(0), ..DEFAULT },
        }
    }

    fn to_bytes(self) -> [u8; 4] {
        [self.policy, self.priority, self.nice.cast_unsigned(), self.reset_on_fork.into()]
    }

    fn of_bytes([policy, priority, nice, reset_on_fork]: [u8; 4]) -> Self {
        Parameters { policy, priority, nice: nice.cast_signed(), reset_on_fork: reset_on_fork != 0 }
    }
}

/// The parameters of a thread, in one word, which other threads may change.
pub(crate) struct Scheduling(AtomicU32);

impl Scheduling {
    /// Init's parameters.
    pub(super) fn new() -> Self {
        Self::of(DEFAULT)
    }

    /// The parameters of a child of the thread that has `self`.
    pub(super) fn for_child(&self) -> Self {
        Self::of(self.get().of_child())
    }

    fn of(parameters: Parameters) -> Self {
        Self(AtomicU32::new(u32::from_be_bytes(parameters.to_bytes())))
    }

    /// The present parameters.
    pub(crate) fn get(&self) -> Parameters {
        Parameters::of_bytes(self.0.load(Ordering::Relaxed).to_be_bytes())
    }

    /// Replaces the parameters. Of two changes at once, the later one wins.
    pub(crate) fn set(&self, new: Parameters) {
        self.0.store(u32::from_be_bytes(new.to_bytes()), Ordering::Relaxed);
    }
}
