//! Calls on time.
//!
//! One clock that never stops: the time base since boot. CLOCK_REALTIME runs at a fixed distance
//! from it. The other clocks show the CPU time of processes and threads.

use alloc::sync::Arc;

use arch::exceptions::TrapFrame;
use arch::timer;

use super::Result;
use super::signals::wait_unless_handled;
use crate::clock;
use crate::errno::Errno;
use crate::mm::user_memory::UserAddr;
use crate::process::cpu_time::Timer;
use crate::process::{Process, alarm as alarms, current, current_thread, signal, table};
use crate::task;
use crate::task::WaitQueue;

/// Linux's `struct timespec`: seconds, nanoseconds.
pub(super) type Timespec = [i64; 2];

const MONOTONIC_RAW: i32 = 4;
const REALTIME_COARSE: i32 = 5;
const MONOTONIC_COARSE: i32 = 6;

const NS_PER_S: i64 = 1_000_000_000;

/// The clocks of clock_gettime.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Clock {
    /// Since 1970.
    Realtime,
    /// Since boot.
    Monotonic,
    /// The CPU time of a process; 0 for the caller's.
    Process(u32),
    /// The CPU time of a thread of the caller's process; 0 for the caller.
    Thread(u32),
}

impl Clock {
    /// By number. Negative ones are CPU-time clocks (Linux's posix-timers_types.h): the complement
    /// of a process's or thread's number above three bits, of which the upper one marks a thread's.
    /// The lower two select one of three clocks, which show one time here, or a descriptor, which
    /// is no clock.
    fn from_number(number: i32) -> Result<Self> {
        const OF_THREAD: i32 = 4;
        const KIND: i32 = 3;
        match number {
            // REALTIME, REALTIME_COARSE, TAI
            0 | 5 | 11 => Ok(Clock::Realtime),
            // MONOTONIC, MONOTONIC_RAW, MONOTONIC_COARSE, BOOTTIME
            1 | 4 | 6 | 7 => Ok(Clock::Monotonic),
            2 => Ok(Clock::Process(0)),
            3 => Ok(Clock::Thread(0)),
            0.. => Err(Errno::EINVAL),
            number if number & KIND == KIND => Err(Errno::EINVAL),
            number if number & OF_THREAD != 0 => Ok(Clock::Thread(!(number >> 3) as u32)),
            number => Ok(Clock::Process(!(number >> 3) as u32)),
        }
    }

    /// The time that it shows; `EINVAL` if its process or thread does not exist.
    fn now_ns(self) -> Result {
        let to_ns = |usage: task::Usage| timer::timebase().tb_to_ns(usage.ran_tb);
        match self {
            Clock::Realtime => Ok(clock::realtime_ns()),
            Clock::Monotonic => Ok(clock::monotonic_ns()),
            Clock::Process(pid) => Ok(to_ns(process(pid)?.usage())),
            Clock::Thread(0) => Ok(to_ns(task::current().usage())),
            Clock::Thread(tid) => Ok(to_ns(thread(tid)?.usage())),
        }
    }

    /// The time base when this clock, which does not stop, shows `at_ns`; now, if that has passed.
    fn deadline_tb(self, at_ns: u64) -> Result {
        Ok(deadline_after(at_ns.saturating_sub(self.now_ns()?)))
    }
}

/// The process with number `pid`, 0 for the caller's.
fn process(pid: u32) -> Result<Arc<Process>> {
    match pid {
        0 => Ok(current_thread().process.clone()),
        pid => table::find(pid).ok_or(Errno::EINVAL),
    }
}

/// The thread `tid` of the caller's process.
fn thread(tid: u32) -> Result<task::TaskRef> {
    let task = super::scheduling::find(tid).map_err(|_| Errno::EINVAL)?;
    let own = task.user.as_ref().is_some_and(|thread| thread.process.pid == current().pid);
    if own { Ok(task) } else { Err(Errno::EINVAL) }
}

/// The time base `ns` from now.
fn deadline_after(ns: u64) -> u64 {
    timer::now_tb().saturating_add(timer::timebase().ns_to_tb(ns))
}

pub(super) fn to_timespec(ns: u64) -> Timespec {
    [(ns / NS_PER_S as u64).cast_signed(), (ns % NS_PER_S as u64).cast_signed()]
}

/// The nanoseconds of the timespec at `from`; a time beyond 64 bits counts as never.
fn read_ns(from: UserAddr) -> Result {
    let [seconds, ns]: Timespec = from.read()?;
    if seconds < 0 || !(0..NS_PER_S).contains(&ns) {
        return Err(Errno::EINVAL);
    }
    Ok((seconds as u64).saturating_mul(NS_PER_S as u64).saturating_add(ns as u64))
}

/// The deadline that a timespec at `from` names: none for NULL.
pub(super) fn read_deadline(from: UserAddr, absolute: Option<Clock>) -> Result<Option<u64>> {
    if from.is_null() {
        return Ok(None);
    }
    let ns = read_ns(from)?;
    Ok(Some(match absolute {
        Some(clock) => clock.deadline_tb(ns)?,
        None => deadline_after(ns),
    }))
}

/// How long a call that waits for files may take, and where the time left is stored when it ends.
#[derive(Clone, Copy)]
pub(super) struct Timeout {
    /// When it is over; none for never.
    pub(super) deadline_tb: Option<u64>,
    /// Where the time left is stored, if it is.
    rest: Option<UserAddr>,
    in_us: bool,
}

impl Timeout {
    /// From a timespec; none at NULL.
    pub(super) fn of_timespec(from: UserAddr) -> Result<Self> {
        Self::new(from, false, || read_ns(from))
    }

    /// From a `struct timeval`, whose microseconds may be more than a second, as in
    /// Linux; none at NULL.
    pub(super) fn of_timeval(from: UserAddr) -> Result<Self> {
        Self::new(from, true, || {
            let [s, us]: Timespec = from.read()?;
            if s < 0 || us < 0 {
                return Err(Errno::EINVAL);
            }
            Ok((s as u64).saturating_mul(NS_PER_S as u64).saturating_add((us as u64).saturating_mul(1000)))
        })
    }

    fn new(from: UserAddr, in_us: bool, read: impl FnOnce() -> Result) -> Result<Self> {
        if from.is_null() {
            return Ok(Timeout { deadline_tb: None, rest: None, in_us });
        }
        let ns = read()?;
        Ok(Timeout { deadline_tb: Some(deadline_after(ns)), rest: (ns != 0).then_some(from), in_us })
    }

    /// Stores the time left. If the timeout lies where it cannot be changed, nothing is stored
    /// (Linux: `poll_select_finish`).
    pub(super) fn tell_rest(self) {
        if let (Some(deadline_tb), Some(to)) = (self.deadline_tb, self.rest) {
            let [s, ns] =
                to_timespec(timer::timebase().tb_to_ns(deadline_tb.saturating_sub(timer::now_tb())));
            let _ = to.write([s, if self.in_us { ns / 1000 } else { ns }]);
        }
    }
}

/// The deadline `ms` from now.
pub(super) fn deadline_after_ms(ms: u64) -> u64 {
    deadline_after(ms.saturating_mul(1_000_000))
}

pub(super) fn clock_gettime(clock: i32, to: UserAddr) -> Result<()> {
    to.write(to_timespec(Clock::from_number(clock)?.now_ns()?))
}

pub(super) fn clock_getres(clock: i32, to: UserAddr) -> Result<()> {
    // The CPU time of an unknown process or thread has no clock.
    Clock::from_number(clock)?.now_ns()?;
    to.write_unless_null(to_timespec(1))
}

pub(super) fn gettimeofday(to: UserAddr, zone: UserAddr) -> Result<()> {
    let us = clock::realtime_ns() / 1000;
    to.write_unless_null([us / 1_000_000, us % 1_000_000])?;
    zone.write_unless_null([0_u32; 2])
}

pub(super) fn time(to: UserAddr) -> Result {
    let seconds = clock::realtime_ns() / NS_PER_S as u64;
    to.write_unless_null(seconds)?;
    Ok(seconds)
}

pub(super) fn nanosleep(frame: &mut TrapFrame, span: UserAddr, rest: UserAddr) -> Result {
    sleep_for(frame, read_ns(span)?, rest)
}

pub(super) fn clock_nanosleep(
    frame: &mut TrapFrame,
    number: i32,
    flags: u64,
    span: UserAddr,
    rest: UserAddr,
) -> Result {
    const TIMER_ABSTIME: u64 = 1;
    let clock = Clock::from_number(number)?;
    // Clocks that cannot be slept by (Linux: clocks without `nsleep`).
    if matches!(number, MONOTONIC_RAW | REALTIME_COARSE | MONOTONIC_COARSE)
        || matches!(clock, Clock::Thread(_))
    {
        return Err(Errno::EOPNOTSUPP);
    }
    let ns = read_ns(span)?;
    let absolute = flags & TIMER_ABSTIME != 0;
    if let Clock::Process(pid) = clock {
        return sleep_for_cpu_time(frame, pid, ns, if absolute { None } else { Some(rest) });
    }
    if !absolute {
        return sleep_for(frame, ns, rest);
    }
    let deadline_tb = clock.deadline_tb(ns)?;
    wait_unless_handled(frame, || sleep_until(deadline_tb))
}

/// Sleeps until the process has run for `ns`; with `rest`, for `ns` more than now. The time left
/// when a signal comes is stored at `rest`.
fn sleep_for_cpu_time(frame: &mut TrapFrame, pid: u32, ns: u64, rest: Option<UserAddr>) -> Result {
    let ran_tb = || process(pid).map(|process| process.usage().ran_tb);
    let base_tb = if rest.is_some() { ran_tb()? } else { 0 };
    let until_tb = base_tb.saturating_add(timer::timebase().ns_to_tb(ns));
    let tell_rest = || {
        let left = timer::timebase().tb_to_ns(until_tb.saturating_sub(ran_tb().unwrap_or(0)));
        // The result is EINTR even if this fails.
        let _ = rest.unwrap_or(UserAddr(0)).write_unless_null(to_timespec(left));
    };
    wait_unless_handled(frame, || {
        while ran_tb()? < until_tb {
            let earliest_tb = process(pid)?.earliest_tb(until_tb);
            sleep_until(earliest_tb).inspect_err(|_| tell_rest())?;
        }
        Ok(0)
    })
}

/// Sleeps for `ns`; the time left when a signal comes is stored at `rest`.
fn sleep_for(frame: &mut TrapFrame, ns: u64, rest: UserAddr) -> Result {
    let deadline_tb = deadline_after(ns);
    let tell_rest = || {
        let left = timer::timebase().tb_to_ns(deadline_tb.saturating_sub(timer::now_tb()));
        // The result is EINTR even if this fails.
        let _ = rest.write_unless_null(to_timespec(left));
    };
    // As in Linux, the time left is stored even if no handler runs then.
    wait_unless_handled(frame, || sleep_until(deadline_tb).inspect_err(|_| tell_rest()))
}

fn sleep_until(deadline_tb: u64) -> Result {
    let nobody = WaitQueue::new();
    signal::wait_deadline(&nobody, deadline_tb, || false).map(|_| 0)
}

pub(super) fn alarm(seconds: u32) -> Result {
    let second_tb = timer::timebase().hz();
    let (left_tb, _) = alarms::set(&current(), u64::from(seconds) * second_tb, 0)?;
    // An alarm that is set is never reported as none.
    Ok(left_tb.div_ceil(second_tb))
}

/// The timers of setitimer.
enum Itimer {
    Real,
    Cpu(Timer),
}

impl Itimer {
    fn from_number(which: u64) -> Result<Self> {
        match which {
            0 => Ok(Itimer::Real),
            1 => Ok(Itimer::Cpu(Timer::Virtual)),
            2 => Ok(Itimer::Cpu(Timer::Prof)),
            _ => Err(Errno::EINVAL),
        }
    }
}

/// `struct itimerval` of the time left and the interval.
fn to_itimerval((left_tb, interval_tb): (u64, u64)) -> [u64; 4] {
    let us = |tb| timer::timebase().tb_to_ns(tb).div_ceil(1000);
    let (interval_us, left_us) = (us(interval_tb), us(left_tb));
    [interval_us / US_PER_S, interval_us % US_PER_S, left_us / US_PER_S, left_us % US_PER_S]
}

const US_PER_S: u64 = 1_000_000;

pub(super) fn getitimer(which: u64, to: UserAddr) -> Result<()> {
    let left = match Itimer::from_number(which)? {
        Itimer::Real => alarms::get(&current()),
        Itimer::Cpu(timer) => current().cpu_timer(timer),
    };
    to.write(to_itimerval(left))
}

/// The ticks of the time base that a `struct timeval` stands for.
fn read_timeval(seconds: u64, us: u64) -> Result {
    if seconds > i64::MAX as u64 || us >= US_PER_S {
        return Err(Errno::EINVAL);
    }
    let ns = seconds.saturating_mul(US_PER_S).saturating_add(us).saturating_mul(1000);
    // At least 1: 0 would mean no timer.
    Ok(timer::timebase().ns_to_tb(ns).max(u64::from(ns != 0)))
}

pub(super) fn setitimer(which: u64, new: UserAddr, old: UserAddr) -> Result<()> {
    let [interval_s, interval_us, s, us]: [u64; 4] = new.read_unless_null()?.unwrap_or_default();
    let (interval_tb, span_tb) = (read_timeval(interval_s, interval_us)?, read_timeval(s, us)?);
    let before = match Itimer::from_number(which)? {
        Itimer::Real => alarms::set(&current(), span_tb, interval_tb)?,
        Itimer::Cpu(timer) => current().set_cpu_timer(timer, span_tb, interval_tb)?,
    };
    old.write_unless_null(to_itimerval(before))
}
