//! Calls on time.
//!
//! One clock: the time base since boot. CLOCK_REALTIME runs at a fixed distance
//! from it.

use powerpc64::exceptions::TrapFrame;
use powerpc64::timer;

use super::Result;
use super::signals::wait_unless_handled;
use crate::clock;
use crate::errno::Errno;
use crate::process::{alarm as alarms, current, signal, user_memory};
use crate::sync::WaitQueue;

/// Linux's `struct timespec`: seconds, nanoseconds.
type Timespec = [i64; 2];

const NS_PER_S: i64 = 1_000_000_000;

/// The clocks of clock_gettime.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Clock {
    /// Since 1970.
    Realtime,
    /// Since boot.
    Monotonic,
}

impl Clock {
    /// By number. CPU-time clocks are not there.
    fn from_number(number: u64) -> Result<Self> {
        match number {
            // REALTIME, REALTIME_COARSE, TAI
            0 | 5 | 11 => Ok(Clock::Realtime),
            // MONOTONIC, MONOTONIC_RAW, MONOTONIC_COARSE, BOOTTIME
            1 | 4 | 6 | 7 => Ok(Clock::Monotonic),
            _ => Err(Errno::EINVAL),
        }
    }

    fn now_ns(self) -> u64 {
        match self {
            Clock::Realtime => clock::realtime_ns(),
            Clock::Monotonic => clock::monotonic_ns(),
        }
    }

    /// The time base when this clock shows `at_ns`; now, if that is past.
    fn deadline_tb(self, at_ns: u64) -> u64 {
        deadline_after(at_ns.saturating_sub(self.now_ns()))
    }
}

/// The time base `ns` from now.
fn deadline_after(ns: u64) -> u64 {
    timer::now_tb().saturating_add(timer::timebase().ns_to_tb(ns))
}

fn to_timespec(ns: u64) -> Timespec {
    [(ns / NS_PER_S as u64).cast_signed(), (ns % NS_PER_S as u64).cast_signed()]
}

/// The nanoseconds of the timespec at `from`; beyond 64 bits counts as never.
fn read_ns(from: u64) -> Result {
    let [seconds, ns]: Timespec = user_memory::read(from)?;
    if seconds < 0 || !(0..NS_PER_S).contains(&ns) {
        return Err(Errno::EINVAL);
    }
    Ok((seconds as u64).saturating_mul(NS_PER_S as u64).saturating_add(ns as u64))
}

/// The deadline that a timespec at `from` names: none for NULL.
pub(super) fn read_deadline(from: u64, absolute: Option<Clock>) -> Result<Option<u64>> {
    if from == 0 {
        return Ok(None);
    }
    let ns = read_ns(from)?;
    Ok(Some(match absolute {
        Some(clock) => clock.deadline_tb(ns),
        None => deadline_after(ns),
    }))
}

/// The deadline `ms` from now.
pub(super) fn deadline_after_ms(ms: u64) -> u64 {
    deadline_after(ms.saturating_mul(1_000_000))
}

pub(super) fn clock_gettime(frame: &mut TrapFrame) -> Result {
    let [clock, to, ..] = frame.syscall_args();
    user_memory::write(to, to_timespec(Clock::from_number(clock)?.now_ns())).map(|()| 0)
}

pub(super) fn clock_getres(frame: &mut TrapFrame) -> Result {
    let [clock, to, ..] = frame.syscall_args();
    Clock::from_number(clock)?;
    user_memory::write_unless_null(to, to_timespec(1)).map(|()| 0)
}

pub(super) fn gettimeofday(frame: &mut TrapFrame) -> Result {
    let [to, zone, ..] = frame.syscall_args();
    let us = clock::realtime_ns() / 1000;
    user_memory::write_unless_null(to, [us / 1_000_000, us % 1_000_000])?;
    user_memory::write_unless_null(zone, [0_u32; 2]).map(|()| 0)
}

pub(super) fn time(frame: &mut TrapFrame) -> Result {
    let [to, ..] = frame.syscall_args();
    let seconds = clock::realtime_ns() / NS_PER_S as u64;
    user_memory::write_unless_null(to, seconds)?;
    Ok(seconds)
}

pub(super) fn nanosleep(frame: &mut TrapFrame) -> Result {
    let [span, rest, ..] = frame.syscall_args();
    sleep_for(frame, read_ns(span)?, rest)
}

pub(super) fn clock_nanosleep(frame: &mut TrapFrame) -> Result {
    const TIMER_ABSTIME: u64 = 1;
    let [clock, flags, span, rest, ..] = frame.syscall_args();
    let clock = Clock::from_number(clock)?;
    let ns = read_ns(span)?;
    if flags & TIMER_ABSTIME == 0 {
        return sleep_for(frame, ns, rest);
    }
    let deadline_tb = clock.deadline_tb(ns);
    wait_unless_handled(frame, || sleep_until(deadline_tb))
}

/// Sleeps for `ns`; what is left when a signal comes is stored at `rest`.
fn sleep_for(frame: &mut TrapFrame, ns: u64, rest: u64) -> Result {
    let deadline_tb = deadline_after(ns);
    let tell_rest = || {
        let left = timer::timebase().tb_to_ns(deadline_tb.saturating_sub(timer::now_tb()));
        // EINTR whether the rest can be told or not.
        let _ = user_memory::write_unless_null(rest, to_timespec(left));
    };
    // As in Linux, the rest is told even if no handler runs then.
    wait_unless_handled(frame, || sleep_until(deadline_tb).inspect_err(|_| tell_rest()))
}

fn sleep_until(deadline_tb: u64) -> Result {
    let nobody = WaitQueue::new();
    signal::wait_deadline(&nobody, deadline_tb, || false).map(|_| 0)
}

pub(super) fn alarm(frame: &mut TrapFrame) -> Result {
    let [seconds, ..] = frame.syscall_args();
    let second_tb = timer::timebase().hz();
    let (left_tb, _) = alarms::set(current(), (seconds & 0xffff_ffff) * second_tb, 0)?;
    // An alarm that is set is never reported as none.
    Ok(left_tb.div_ceil(second_tb))
}

/// ITIMER_REAL; the timers of CPU time are not there.
fn check_timer(which: u64) -> Result<()> {
    if which == 0 { Ok(()) } else { Err(Errno::EINVAL) }
}

/// `struct itimerval` of what is left and the interval.
fn to_itimerval((left_tb, interval_tb): (u64, u64)) -> [u64; 4] {
    let us = |tb| timer::timebase().tb_to_ns(tb).div_ceil(1000);
    let (interval_us, left_us) = (us(interval_tb), us(left_tb));
    [interval_us / US_PER_S, interval_us % US_PER_S, left_us / US_PER_S, left_us % US_PER_S]
}

const US_PER_S: u64 = 1_000_000;

pub(super) fn getitimer(frame: &mut TrapFrame) -> Result {
    let [which, to, ..] = frame.syscall_args();
    check_timer(which)?;
    user_memory::write(to, to_itimerval(alarms::get(current()))).map(|()| 0)
}

pub(super) fn setitimer(frame: &mut TrapFrame) -> Result {
    let [which, new, old, ..] = frame.syscall_args();
    check_timer(which)?;
    let [interval_s, interval_us, s, us]: [u64; 4] = if new == 0 { [0; 4] } else { user_memory::read(new)? };
    if interval_us >= US_PER_S || us >= US_PER_S {
        return Err(Errno::EINVAL);
    }
    let to_tb = |s: u64, us: u64| {
        timer::timebase().ns_to_tb(s.saturating_mul(US_PER_S).saturating_add(us).saturating_mul(1000))
    };
    let before = alarms::set(current(), to_tb(s, us), to_tb(interval_s, interval_us))?;
    user_memory::write_unless_null(old, to_itimerval(before)).map(|()| 0)
}
