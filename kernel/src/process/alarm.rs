//! Alarms: SIGALRM at a time that a process has set (alarm, ITIMER_REAL).
//!
//! One kernel thread, started with the first alarm, sleeps until the next one.

use alloc::collections::BTreeMap;
use core::sync::atomic::{AtomicBool, Ordering};

use powerpc64::timer;

use super::signal::{self, Info, SIGALRM};
use super::{Process, table};
use crate::errno::Errno;
use crate::sync::{SpinLock, WaitQueue};
use crate::task::kthread;

/// When, and for whom: unique, since a process has one alarm.
type Place = (u64, u32);

/// Guards the alarms that are set, each with its interval in ticks of the time
/// base (0: once), and every process's `alarm_tb`. The heap's locks nest inside.
static ALARMS: SpinLock<BTreeMap<Place, u64>> = SpinLock::new("alarms", BTreeMap::new());
/// The thread, which waits for the next alarm or an earlier one.
static SLEEPER: WaitQueue = WaitQueue::new();
/// An earlier alarm was set since the thread last looked.
static EARLIER: AtomicBool = AtomicBool::new(false);

/// `Process::alarm_tb` of a process without an alarm.
pub(super) const NONE: u64 = 0;

/// Sets the alarm of `process` to ring in `span_tb` ticks and then every
/// `interval_tb` (0: never again); a span of 0 takes it back. Returns the span and
/// the interval that were left of the one before, 0 for none.
pub(crate) fn set(process: &Process, span_tb: u64, interval_tb: u64) -> Result<(u64, u64), Errno> {
    if span_tb != 0 {
        start_thread()?;
    }
    let now_tb = timer::now_tb();
    let mut alarms = ALARMS.lock();
    let before_tb = process.alarm_tb.load(Ordering::Relaxed);
    let interval_before = alarms.remove(&(before_tb, process.pid)).unwrap_or(0);
    let deadline_tb = if span_tb == 0 { NONE } else { now_tb.saturating_add(span_tb) };
    process.alarm_tb.store(deadline_tb, Ordering::Relaxed);
    if span_tb != 0 {
        alarms.insert((deadline_tb, process.pid), interval_tb);
        EARLIER.store(true, Ordering::Relaxed);
    }
    drop(alarms);
    SLEEPER.wake_all();
    // Overdue and not rung yet still counts as set.
    let left_tb = if before_tb == NONE { 0 } else { before_tb.saturating_sub(now_tb).max(1) };
    Ok((left_tb, interval_before))
}

/// What is left of the alarm of `process`, and its interval; 0 for none.
pub(crate) fn get(process: &Process) -> (u64, u64) {
    let alarms = ALARMS.lock();
    let deadline_tb = process.alarm_tb.load(Ordering::Relaxed);
    let interval_tb = alarms.get(&(deadline_tb, process.pid)).copied().unwrap_or(0);
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

/// Rings the alarms whose time has come. Returns when the next one's comes.
fn ring() -> u64 {
    loop {
        let Some(rung) = take_due() else { break };
        if let Some(process) = rung {
            signal::send_to_process(&process, Info::of_kernel(SIGALRM));
        }
    }
    ALARMS.lock().first_key_value().map_or(u64::MAX, |(&(deadline_tb, _), _)| deadline_tb)
}

/// Takes the first alarm if its time has come, and sets it anew if it repeats.
/// The process may be gone.
fn take_due() -> Option<Option<alloc::sync::Arc<Process>>> {
    let now_tb = timer::now_tb();
    let mut alarms = ALARMS.lock();
    let (&(deadline_tb, pid), &interval_tb) = alarms.first_key_value()?;
    if deadline_tb > now_tb {
        return None;
    }
    alarms.remove(&(deadline_tb, pid));
    // The table's lock nests inside.
    let process = table::find(pid);
    if let Some(process) = &process {
        let next_tb =
            if interval_tb == 0 { NONE } else { deadline_tb.saturating_add(interval_tb).max(now_tb) };
        process.alarm_tb.store(next_tb, Ordering::Relaxed);
        if next_tb != NONE {
            alarms.insert((next_tb, pid), interval_tb);
        }
    }
    Some(process)
}
