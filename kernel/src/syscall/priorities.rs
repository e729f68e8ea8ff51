//! Calls on policies and priorities.
//!
//! See [`crate::process::scheduling`] for their effect.

use core::sync::atomic::Ordering;

use super::Result;
use super::scheduling::{find, slice_ns};
use super::time::to_timespec;
use crate::errno::Errno;
use crate::mm::user_memory::{Plain, UserAddr};
use crate::process::scheduling::{NICE_MAX, NICE_MIN, Parameters, SCHED_FIFO, Scheduling};
use crate::process::{Process, Thread, current, current_thread, table};
use crate::task::{Task, TaskRef};

/// A flag in a policy's word: children have the default policy.
const SCHED_RESET_ON_FORK: u32 = 0x4000_0000;

/// The thread `tid`, 0 being the caller. A negative number is `EINVAL` here.
fn target(tid: u32) -> Result<TaskRef> {
    if (tid as i32) < 0 { Err(Errno::EINVAL) } else { find(tid) }
}

fn scheduling(task: &Task) -> Result<&Scheduling> {
    task.user.as_ref().map(|thread| &thread.scheduling).ok_or(Errno::ESRCH)
}

/// The policy and the flag in a program's word.
fn to_policy(word: u32) -> Result<(u8, bool)> {
    let policy = u8::try_from(word & !SCHED_RESET_ON_FORK).map_err(|_| Errno::EINVAL)?;
    Ok((policy, word & SCHED_RESET_ON_FORK != 0))
}

/// A priority of `struct sched_param`.
fn read_priority(from: UserAddr) -> Result<u8> {
    if from.is_null() {
        return Err(Errno::EINVAL);
    }
    // A number that does not fit is no priority.
    Ok(u8::try_from(from.read::<i32>()?).unwrap_or(u8::MAX))
}

/// sched_setscheduler; without `policy`, sched_setparam, which keeps it.
pub(super) fn sched_setscheduler(tid: u32, policy: Option<u32>, from: UserAddr) -> Result<()> {
    if [Some(tid), policy].into_iter().flatten().any(|number| (number as i32) < 0) {
        return Err(Errno::EINVAL);
    }
    let priority = read_priority(from)?;
    let task = find(tid)?;
    let scheduling = scheduling(&task)?;
    let mut new = Parameters { priority, ..scheduling.get() };
    if let Some(policy) = policy {
        (new.policy, new.reset_on_fork) = to_policy(policy)?;
    }
    scheduling.set(new.check()?);
    Ok(())
}

pub(super) fn sched_getscheduler(tid: u32) -> Result<u32> {
    let now = scheduling(&*target(tid)?)?.get();
    let flag = if now.reset_on_fork { SCHED_RESET_ON_FORK } else { 0 };
    Ok(u32::from(now.policy) | flag)
}

pub(super) fn sched_getparam(tid: u32, to: UserAddr) -> Result<()> {
    if to.is_null() {
        return Err(Errno::EINVAL);
    }
    let now = scheduling(&*target(tid)?)?.get();
    to.write(i32::from(now.priority))
}

/// The bound `real_time` for FIFO and RR, 0 for the policies without priorities.
pub(super) fn bound(policy: i32, real_time: u64) -> Result {
    match policy {
        1 | 2 => Ok(real_time),
        0 | 3 | 5 | 6 => Ok(0),
        _ => Err(Errno::EINVAL),
    }
}

pub(super) fn sched_rr_get_interval(tid: u32, to: UserAddr) -> Result<()> {
    let now = scheduling(&*target(tid)?)?.get();
    // As in Linux, FIFO's turn is reported as endless; here it is not.
    let ns = if now.policy == SCHED_FIFO { 0 } else { slice_ns() };
    to.write(to_timespec(ns))
}

/// Linux's `struct sched_attr`, in its first version.
#[derive(Clone, Copy)]
#[repr(C)]
struct Attributes {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    /// Runtime, deadline and period of SCHED_DEADLINE.
    deadline: [u64; 3],
}

// SAFETY: integers without padding.
unsafe impl Plain for Attributes {}

/// Bytes of [`Attributes`], and of the version with bounds on utilization.
const ATTRIBUTES_BYTES: u32 = 48;
const BOUNDED_BYTES: u32 = 56;
const _: () = assert!(size_of::<Attributes>() == ATTRIBUTES_BYTES as usize);
/// No `struct sched_attr` is larger.
const PAGE_BYTES: u32 = 4096;

/// `sched_flags`: children have the default policy; keep the policy; keep the rest; the
/// bounds on utilization.
const FLAG_RESET_ON_FORK: u64 = 1;
const FLAG_KEEP_POLICY: u64 = 8;
const FLAG_KEEP_PARAMS: u64 = 0x10;
const FLAG_UTILIZATION: u64 = 0x60;

/// Reads attributes of any size; bytes beyond the first version must be 0.
fn read_attributes(from: UserAddr) -> Result<Attributes> {
    let size = match from.read::<u32>()? {
        0 => ATTRIBUTES_BYTES,
        size => size,
    };
    let wrong_size = || from.write(BOUNDED_BYTES).and(Err(Errno::E2BIG));
    if !(ATTRIBUTES_BYTES..=PAGE_BYTES).contains(&size) {
        return wrong_size();
    }
    let attributes: Attributes = from.read()?;
    if attributes.flags & FLAG_UTILIZATION != 0 {
        return Err(if size < BOUNDED_BYTES { Errno::EINVAL } else { Errno::EOPNOTSUPP });
    }
    for at in BOUNDED_BYTES..size {
        if from.plus(at as usize).read::<u8>()? != 0 {
            return wrong_size();
        }
    }
    Ok(attributes)
}

pub(super) fn sched_setattr(tid: u32, from: UserAddr, flags: u32) -> Result<()> {
    if from.is_null() || (tid as i32) < 0 || flags != 0 {
        return Err(Errno::EINVAL);
    }
    let wanted = read_attributes(from)?;
    if (wanted.policy as i32) < 0
        || wanted.flags & !(FLAG_RESET_ON_FORK | FLAG_KEEP_POLICY | FLAG_KEEP_PARAMS) != 0
    {
        return Err(Errno::EINVAL);
    }
    let task = find(tid)?;
    let scheduling = scheduling(&task)?;
    let mut new = Parameters { reset_on_fork: wanted.flags & FLAG_RESET_ON_FORK != 0, ..scheduling.get() };
    if wanted.flags & FLAG_KEEP_POLICY == 0 {
        new.policy = u8::try_from(wanted.policy).map_err(|_| Errno::EINVAL)?;
    }
    if wanted.flags & FLAG_KEEP_PARAMS == 0 {
        new.priority = u8::try_from(wanted.priority).unwrap_or(u8::MAX);
        if !new.is_real_time() {
            new.nice = wanted.nice.clamp(NICE_MIN, NICE_MAX) as i8;
        }
    }
    scheduling.set(new.check()?);
    Ok(())
}

pub(super) fn sched_getattr(tid: u32, to: UserAddr, size: u32, flags: u32) -> Result<()> {
    let fits = (ATTRIBUTES_BYTES..=PAGE_BYTES).contains(&size);
    if to.is_null() || !fits || flags != 0 {
        return Err(Errno::EINVAL);
    }
    let now = scheduling(&*target(tid)?)?.get();
    let attributes = Attributes {
        size: ATTRIBUTES_BYTES,
        policy: now.policy.into(),
        flags: if now.reset_on_fork { FLAG_RESET_ON_FORK } else { 0 },
        nice: if now.is_real_time() { 0 } else { now.nice.into() },
        priority: now.priority.into(),
        deadline: [0; 3],
    };
    to.write(attributes)
}

fn clamp_nice(nice: i32) -> i8 {
    nice.clamp(NICE_MIN, NICE_MAX) as i8
}

pub(super) fn nice(step: i32) {
    let scheduling = &current_thread().scheduling;
    let now = scheduling.get();
    let nice = clamp_nice(i32::from(now.nice).saturating_add(step));
    scheduling.set(Parameters { nice, ..now });
}

/// Calls `f` for the threads that getpriority's `which` and `who` mean; `ESRCH` if there are none.
fn for_each_meant(which: i32, who: u32, mut f: impl FnMut(&Thread)) -> Result<()> {
    const PRIO_PROCESS: i32 = 0;
    const PRIO_PGRP: i32 = 1;
    const PRIO_USER: i32 = 2;
    let mut any = false;
    let mut all_of = |process: &Process| {
        process.for_each_thread(|thread| {
            any = true;
            f(thread);
        });
    };
    match which {
        PRIO_PROCESS => return find(who)?.user.as_ref().map(f).ok_or(Errno::ESRCH),
        PRIO_PGRP => {
            let group = if who == 0 { current().group.load(Ordering::Relaxed) } else { who };
            table::for_each(|process| {
                if process.group.load(Ordering::Relaxed) == group {
                    all_of(process);
                }
            });
        }
        // There is one user.
        PRIO_USER if who == 0 => table::for_each(all_of),
        PRIO_USER => {}
        _ => return Err(Errno::EINVAL),
    }
    if any { Ok(()) } else { Err(Errno::ESRCH) }
}

pub(super) fn getpriority(which: i32, who: u32) -> Result {
    let mut highest = i32::MIN;
    // 1 to 40, since a result below 0 would be an error.
    for_each_meant(which, who, |thread| highest = highest.max(20 - i32::from(thread.scheduling.get().nice)))?;
    Ok(highest as u64)
}

pub(super) fn setpriority(which: i32, who: u32, nice: i32) -> Result<()> {
    let nice = clamp_nice(nice);
    for_each_meant(which, who, |thread| {
        thread.scheduling.set(Parameters { nice, ..thread.scheduling.get() });
    })?;
    Ok(())
}
