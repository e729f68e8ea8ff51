//! Calls on CPUs and on the tasks that may run there.

use arch::percpu;
use kcore::cpu::CpuSet;

use super::Result;
use crate::errno::Errno;
use crate::machine::lazy_tlb;
use crate::mm::user_memory::UserAddr;
use crate::process::current_thread;
use crate::task::{self, TaskRef, registry};

/// How long a task runs while others wait.
pub(super) fn slice_ns() -> u64 {
    task::timer::SLICE_US * 1000
}

/// Bytes of Linux's `cpu_set_t`.
const SET_BYTES: u64 = kcore::cpu::MAX_CPUS as u64 / 8;

/// The thread with number `tid`, 0 being the caller.
pub(super) fn find(tid: u32) -> Result<TaskRef> {
    match tid {
        0 => Ok(task::current().to_ref()),
        // A thread that has called exec has its process's number.
        tid if tid == current_thread().tid() => Ok(task::current().to_ref()),
        tid => registry::find(tid).filter(|task| task.user.is_some()).ok_or(Errno::ESRCH),
    }
}

pub(super) fn sched_setaffinity(tid: u32, len: u64, from: UserAddr) -> Result<()> {
    // Read as bytes: a set may end in the middle of a word.
    let mut bytes = [0; SET_BYTES as usize];
    let given = &mut bytes[..len.min(SET_BYTES) as usize];
    from.read_bytes(given)?;
    let task = find(tid)?;
    let mut set = CpuSet::EMPTY;
    for (n, word) in bytes.as_chunks().0.iter().enumerate() {
        set.set_word(n, u64::from_be_bytes(*word));
    }
    let set = set.and(&lazy_tlb().online());
    task::set_affinity(&task, &set).map_err(|_| Errno::EINVAL)
}

pub(super) fn sched_getaffinity(tid: u32, len: u64, to: UserAddr) -> Result {
    let needed = lazy_tlb().nr_cpus().div_ceil(64) as u64 * 8;
    if len < needed || !len.is_multiple_of(8) {
        return Err(Errno::EINVAL);
    }
    let set = find(tid)?.affinity().and(&lazy_tlb().online());
    let len = len.min(SET_BYTES);
    for word in 0..len as usize / 8 {
        to.nth::<u64>(word).write(set.word(word))?;
    }
    Ok(len)
}

pub(super) fn getcpu(cpu: UserAddr, node: UserAddr) -> Result<()> {
    cpu.write_unless_null(percpu::cpu_id().index() as u32)?;
    node.write_unless_null(0_u32)
}
