//! The CPU time of processes, and the marks that it can reach: RLIMIT_CPU, ITIMER_PROF,
//! ITIMER_VIRTUAL.
//!
//! No tick counts time. For a process with a mark there is an alarm at the earliest time at which
//! it can be reached, with all threads running. Then the process is checked, and an alarm is set
//! for the next such time ([`Process::look_at_cpu_time`]).
//!
//! Time in the kernel counts as the program's: to separate it would cost two reads of the time base
//! per system call. So ITIMER_VIRTUAL counts what ITIMER_PROF does.

use arch::timer;

use super::exit::Status;
use super::limits::{Limit, Resource};
use super::signal::{self, Info, SIGKILL};
use super::{Process, alarm};
use crate::errno::Errno;
use crate::machine::lazy_tlb;
use crate::task::Usage;

const SIGXCPU: u32 = 24;
const SIGVTALRM: u32 = 26;
const SIGPROF: u32 = 27;

/// The least time to the alarm for the next check of a process, in milliseconds: Linux's tick.
const LOOK_MS: u64 = 10;

/// The usage of a process's former threads, and of its children that were waited for.
#[derive(Default)]
pub(super) struct Past {
    pub(super) threads: Usage,
    pub(super) children: Usage,
}

/// A timer on CPU time, as ticks of the time base.
#[derive(Clone, Copy)]
struct Mark {
    /// The CPU time at which it rings; [`NEVER`] if it is not set.
    at_tb: u64,
    /// The CPU time until it rings again; 0 for once.
    interval_tb: u64,
}

const NEVER: u64 = u64::MAX;

/// ITIMER_VIRTUAL or ITIMER_PROF.
#[derive(Clone, Copy)]
pub(crate) enum Timer {
    /// SIGVTALRM.
    Virtual,
    /// SIGPROF.
    Prof,
}

/// The timers of a process, by [`Timer`].
pub(super) struct Timers([Mark; 2]);

impl Timers {
    /// Neither is set.
    pub(super) const fn new() -> Self {
        Self([Mark { at_tb: NEVER, interval_tb: 0 }; 2])
    }

    /// The mark that is reached first.
    fn next_tb(&self) -> u64 {
        self.0[0].at_tb.min(self.0[1].at_tb)
    }
}

impl Mark {
    /// The time left of it when `ran_tb` is used, and the interval; 0 if it is not set.
    fn left(self, ran_tb: u64) -> (u64, u64) {
        match self.at_tb {
            NEVER => (0, 0),
            // An overdue timer still counts as set.
            at_tb => (at_tb.saturating_sub(ran_tb).max(1), self.interval_tb),
        }
    }
}

impl Process {
    /// The usage of all its threads, including those that have ended.
    pub(crate) fn usage(&self) -> Usage {
        // A thread that ends moves from the list to `past` under this lock.
        let threads = self.threads.lock();
        let mut sum = self.past.lock().threads;
        threads.iter().for_each(|task| sum += task.usage());
        sum
    }

    /// The usage of its children that were waited for, and of theirs.
    pub(crate) fn children_usage(&self) -> Usage {
        self.past.lock().children
    }

    /// `child`, which is dead, was waited for. Returns the usage of it and its own children.
    pub(super) fn add_child_usage(&self, child: &Process) -> Usage {
        let mut used = child.usage();
        used += child.children_usage();
        self.past.lock().children += used;
        used
    }

    /// Sets a timer to `span_tb` of CPU time from now and then every `interval_tb`; a span of 0
    /// takes it back. Returns the previous timer's span left and interval, 0 for none.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub(crate) fn set_cpu_timer(
        &self,
        timer: Timer,
        span_tb: u64,
        interval_tb: u64,
    ) -> Result<(u64, u64), Errno> {
        let mut timers = self.cpu_timers.lock();
        let ran_tb = self.usage().ran_tb;
        let at_tb = if span_tb == 0 { NEVER } else { ran_tb.saturating_add(span_tb) };
        let before = core::mem::replace(&mut timers.0[timer as usize], Mark { at_tb, interval_tb });
        self.look(&mut timers).map(|()| before.left(ran_tb))
    }

    /// The time left of a timer, and its interval; 0 for none.
    pub(crate) fn cpu_timer(&self, timer: Timer) -> (u64, u64) {
        let timers = self.cpu_timers.lock();
        timers.0[timer as usize].left(self.usage().ran_tb)
    }

    /// Replaces both limits of a resource, and returns the old ones.
    ///
    /// # Errors
    /// As [`Limits::set`](super::limits::Limits::set); `ENOMEM`.
    pub(crate) fn set_limit(&self, resource: Resource, new: Limit) -> Result<Limit, Errno> {
        let before = self.limits.set(resource, new)?;
        if resource == Resource::Cpu {
            self.look_at_cpu_time()?;
        }
        Ok(before)
    }

    /// The time base before which the process cannot have used `at_tb`.
    pub(crate) fn earliest_tb(&self, at_tb: u64) -> u64 {
        let at_once = self.threads.lock().len().clamp(1, lazy_tlb().nr_cpus()) as u64;
        let left_tb = at_tb.saturating_sub(self.usage().ran_tb) / at_once;
        timer::now_tb().saturating_add(left_tb.max(LOOK_MS * 1000 * timer::ticks_per_us()))
    }
    /// Acts on the marks that the CPU time has reached, and sets the alarm for the next check. May
    /// sleep.
    ///
    /// # Errors
    /// `ENOMEM` for the alarm.
    #[inline]
    pub(super) fn look_at_cpu_time(&self) -> Result<(), Errno> {
        self.look(&mut self.cpu_timers.lock())
    }

    /// [`Process::look_at_cpu_time`] with the timers' lock held. It is held throughout: of two
    /// threads that check, the later one sets the alarm.
    fn look(&self, timers: &mut Timers) -> Result<(), Errno> {
        if self.threads.lock().is_empty() {
            // The process has ended: no more checks.
            return alarm::look_at(self, alarm::NONE);
        }
        let ran_tb = self.usage().ran_tb;
        self.ring(timers, ran_tb);
        let next_tb = timers.next_tb().min(self.check_limit(ran_tb));
        alarm::look_at(self, if next_tb == NEVER { alarm::NONE } else { self.earliest_tb(next_tb) })
    }

    /// Sends the signals of the timers that have reached their marks.
    fn ring(&self, timers: &mut Timers, ran_tb: u64) {
        for (mark, signal) in timers.0.iter_mut().zip([SIGVTALRM, SIGPROF]) {
            if mark.at_tb <= ran_tb {
                let next_tb = mark.at_tb.saturating_add(mark.interval_tb).max(ran_tb);
                mark.at_tb = if mark.interval_tb == 0 { NEVER } else { next_tb };
                signal::send_to_process(self, Info::of_kernel(signal));
            }
        }
    }

    /// Warns at the soft limit and each second after it, and ends the process at the hard one.
    /// Returns the next mark. As in Linux (`check_process_timers`), a warning moves the soft limit.
    fn check_limit(&self, ran_tb: u64) -> u64 {
        let ticks = |seconds: u64| seconds.saturating_mul(timer::timebase().hz());
        let Limit { soft, hard } = self.limits.pair(Resource::Cpu);
        if ran_tb >= ticks(hard) {
            self.end(Status::signaled(SIGKILL));
            return NEVER;
        }
        if ran_tb < ticks(soft) {
            return ticks(soft);
        }
        signal::send_to_process(self, Info::of_kernel(SIGXCPU));
        let soft = (soft + 1).min(hard);
        // Cannot fail: it is at most the hard one.
        let _ = self.limits.set(Resource::Cpu, Limit { soft, hard });
        ticks(soft)
    }
}
