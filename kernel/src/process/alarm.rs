//! Alarms: SIGALRM at a time that a process has set (alarm, ITIMER_REAL); and checks of its CPU
//! time, at times that [`super::cpu_time`] sets.
//!
//! One kernel thread, started with the first alarm, sleeps until the next one.

use alloc::collections::BTreeMap;
use core::sync::atomic::{AtomicBool, Ordering};

use arch::timer;

use super::signal::{self, Info, SIGALRM};
use super::{Process, table};
use crate::errno::Errno;
use crate::sync::SpinLock;
use crate::task::WaitQueue;
use crate::task::kthread;

/// The action when the time has come.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    /// The process gets its signal.
    Signal,
    /// Its CPU time is checked.
    Look,
}

/// When, for whom and what: unique, since a process has one of each.
type Place = (u64, u32, What);

/// Guards the alarms that are set, each with its interval in ticks of the time base (0: once), and
/// each process's `alarms_tb`. The heap's locks nest inside.
static ALARMS: SpinLock<BTreeMap<Place, u64>> = SpinLock::new("alarms", BTreeMap::new());
/// The thread, which waits for the next alarm or an earlier one.
static SLEEPER: WaitQueue = WaitQueue::new();
/// An earlier alarm was set since the thread last looked.
static EARLIER: AtomicBool = AtomicBool::new(false);

/// In `Process::alarms_tb`, by [`What`]: no alarm is set.
pub(super) const NONE: u64 = 0;

/// Sets the alarm of `process` to ring in `span_tb` ticks and then every `interval_tb` (0: never
/// again); a span of 0 takes it back. Returns what was left of the previous alarm, and its
/// interval; 0 for none.
pub(crate) fn set(process: &Process, span_tb: u64, interval_tb: u64) -> Result<(u64, u64), Errno> {
    let now_tb = timer::now_tb();
    let deadline_tb = if span_tb == 0 { NONE } else { now_tb.saturating_add(span_tb) };
    let (before_tb, interval_before) = replace(process, What::Signal, deadline_tb, interval_tb)?;
    // An alarm that is overdue and has not rung still counts as set.
    let left_tb = if before_tb == NONE { 0 } else { before_tb.saturating_sub(now_tb).max(1) };
    Ok((left_tb, interval_before))
}

/// Has the CPU time of `process` checked when the time base is `deadline_tb`; [`NONE`] takes that
/// back.
///
/// # Errors
/// `ENOMEM`.
pub(super) fn look_at(process: &Process, deadline_tb: u64) -> Result<(), Errno> {
    replace(process, What::Look, deadline_tb, 0).map(drop)
}

/// Replaces an alarm; returns the deadline of the previous one and its interval.
#[inline]
fn replace(process: &Process, what: What, deadline_tb: u64, interval_tb: u64) -> Result<(u64, u64), Errno> {
    let place = &process.alarms_tb[what as usize];
    if deadline_tb != NONE {
        start_thread()?;
    } else if place.load(Ordering::Relaxed) == NONE {
        // Only a call like this sets an alarm where there is none: there is none to take back.
        return Ok((NONE, 0));
    }
    let mut alarms = ALARMS.lock();
    let before_tb = place.swap(deadline_tb, Ordering::Relaxed);
    let interval_before = alarms.remove(&(before_tb, process.pid, what)).unwrap_or(0);
    if deadline_tb != NONE {
        alarms.insert((deadline_tb, process.pid, what), interval_tb);
        EARLIER.store(true, Ordering::Relaxed);
    }
    drop(alarms);
    SLEEPER.wake_all();
    Ok((before_tb, interval_before))
}

/// The time left of the alarm of `process`, and its interval; 0 for none.
pub(crate) fn get(process: &Process) -> (u64, u64) {
    let alarms = ALARMS.lock();
    let deadline_tb = process.alarms_tb[What::Signal as usize].load(Ordering::Relaxed);
    let interval_tb = alarms.get(&(deadline_tb, process.pid, What::Signal)).copied().unwrap_or(0);
    let left_tb = deadline_tb.saturating_sub(timer::now_tb()).max(1);
    (if deadline_tb == NONE { 0 } else { left_tb }, interval_tb)
}

/// Starts the thread, once.
fn start_thread() -> Result<(), Errno> {
    static STARTED: AtomicBool = AtomicBool::new(false);
    if STARTED.swap(true, Ordering::Relaxed) {
        return Ok(());
    }
    kthread::try_spawn("alarms", ring_for_ever).map(drop).map_err(|_| {
        STARTED.store(false, Ordering::Relaxed);
        Errno::ENOMEM
    })
}

fn ring_for_ever() {
    loop {
        EARLIER.store(false, Ordering::Relaxed);
        let next_tb = ring();
        SLEEPER.wait_until_deadline(|| EARLIER.load(Ordering::Relaxed), next_tb);
    }
}

/// Rings the alarms whose time has come. Returns the next one's deadline.
fn ring() -> u64 {
    while let Some((process, what)) = take_due() {
        // The process may be gone.
        let Some(process) = process else { continue };
        match what {
            What::Signal => signal::send_to_process(&process, Info::of_kernel(SIGALRM)),
            // Cannot fail: the thread that it would start is this one.
            What::Look => drop(process.look_at_cpu_time()),
        }
    }
    ALARMS.lock().first_key_value().map_or(u64::MAX, |(&(deadline_tb, ..), _)| deadline_tb)
}

/// Takes the first alarm if its time has come, and sets it anew if it repeats.
fn take_due() -> Option<(Option<alloc::sync::Arc<Process>>, What)> {
    let now_tb = timer::now_tb();
    let mut alarms = ALARMS.lock();
    let (&(deadline_tb, pid, what), &interval_tb) = alarms.first_key_value()?;
    if deadline_tb > now_tb {
        return None;
    }
    alarms.remove(&(deadline_tb, pid, what));
    // The table's lock nests inside.
    let process = table::find(pid);
    if let Some(process) = &process {
        let next_tb =
            if interval_tb == 0 { NONE } else { deadline_tb.saturating_add(interval_tb).max(now_tb) };
        process.alarms_tb[what as usize].store(next_tb, Ordering::Relaxed);
        if next_tb != NONE {
            alarms.insert((next_tb, pid, what), interval_tb);
        }
    }
    Some((process, what))
}
