//! Calls on CPUs and who runs on them.

use kcore::cpu::CpuSet;
use powerpc64::exceptions::TrapFrame;
use powerpc64::percpu;

use super::Result;
use crate::errno::Errno;
use crate::machine::lazy_tlb;
use crate::process::{current_thread, user_memory};
use crate::task::{self, TaskRef, registry};

/// Bytes of Linux's `cpu_set_t`.
const SET_BYTES: u64 = kcore::cpu::MAX_CPUS as u64 / 8;

pub(super) fn sched_yield(_: &mut TrapFrame) -> Result {
    task::yield_now();
    Ok(0)
}

pub(super) fn sched_get_priority_max(frame: &mut TrapFrame) -> Result {
    priority(frame, 99)
}

pub(super) fn sched_get_priority_min(frame: &mut TrapFrame) -> Result {
    priority(frame, 1)
}

/// The bound `real_time` for FIFO and RR, 0 for the policies without priorities.
fn priority(frame: &TrapFrame, real_time: u64) -> Result {
    match frame.syscall_args()[0] {
        1 | 2 => Ok(real_time),
        0 | 3 | 5 => Ok(0),
        _ => Err(Errno::EINVAL),
    }
}

/// The thread with number `tid`, 0 being the caller.
pub(super) fn find(tid: u64) -> Result<TaskRef> {
    match tid as u32 {
        0 => Ok(task::current().to_ref()),
        // A thread that has exec'd goes by its process's number.
        tid if tid == current_thread().tid() => Ok(task::current().to_ref()),
        tid => registry::find(tid).filter(|task| task.user.is_some()).ok_or(Errno::ESRCH),
    }
}

pub(super) fn sched_setaffinity(frame: &mut TrapFrame) -> Result {
    let [tid, len, from, ..] = frame.syscall_args();
    let task = find(tid)?;
    let mut set = CpuSet::EMPTY;
    for word in 0..len.min(SET_BYTES) / 8 {
        set.set_word(word as usize, user_memory::read(from + word * 8)?);
    }
    let set = set.and(&lazy_tlb().online());
    task::set_affinity(&task, &set).map_err(|_| Errno::EINVAL).map(|()| 0)
}

pub(super) fn sched_getaffinity(frame: &mut TrapFrame) -> Result {
    let [tid, len, to, ..] = frame.syscall_args();
    let needed = lazy_tlb().nr_cpus().div_ceil(64) as u64 * 8;
    if len < needed || !len.is_multiple_of(8) {
        return Err(Errno::EINVAL);
    }
    let set = find(tid)?.affinity().and(&lazy_tlb().online());
    let len = len.min(SET_BYTES);
    for word in 0..len / 8 {
        user_memory::write(to + word * 8, set.word(word as usize))?;
    }
    Ok(len)
}

pub(super) fn getcpu(frame: &mut TrapFrame) -> Result {
    let [cpu, node, ..] = frame.syscall_args();
    user_memory::write_unless_null(cpu, percpu::cpu_id().index() as u32)?;
    user_memory::write_unless_null(node, 0_u32)?;
    Ok(0)
}
