//! Kernel threads: tasks without an address space of their own, which run on the one that their CPU
//! has loaded.

use alloc::boxed::Box;

use arch::exceptions::frame::TrapFrame;
use kcore::cpu::{CpuId, CpuSet};
use kcore::task::TaskMm;

use super::descriptor::TaskRef;
use super::spawn::{self, OutOfMemory, Plan};
use super::{cpu, registry};
use crate::upcalls::UserHalf;

/// Starts a kernel thread that runs `f` on any CPU and ends with it. Interrupts and preemption on.
pub(crate) fn try_spawn(name: &str, f: impl FnOnce() + Send + 'static) -> Result<TaskRef, OutOfMemory> {
    spawn_with(registry::next_tid(), name, &CpuSet::first(cpu::count()), None, f)
}

/// [`try_spawn`] for a thread that the kernel needs.
///
/// # Panics
/// If there is no memory for its stack.
pub(crate) fn spawn(name: &str, f: impl FnOnce() + Send + 'static) -> TaskRef {
    try_spawn(name, f).unwrap_or_else(|OutOfMemory| panic!("no memory for the kernel thread {name}"))
}

/// [`spawn()`] on `cpu` only.
pub(crate) fn spawn_on(cpu: CpuId, name: &str, f: impl FnOnce() + Send + 'static) -> TaskRef {
    let mut only = CpuSet::EMPTY;
    only.insert(cpu);
    spawn_with(registry::next_tid(), name, &only, None, f)
        .unwrap_or_else(|OutOfMemory| panic!("no memory for the kernel thread {name} of {cpu}"))
}

/// Starts the kernel thread that becomes a program: process number `tid`, with the
/// user half `thread`; `f` ends in an exec.
pub(crate) fn spawn_first_thread(
    tid: u32,
    thread: UserHalf,
    f: impl FnOnce() + Send + 'static,
) -> Result<TaskRef, OutOfMemory> {
    spawn_with(tid, "init", &CpuSet::first(cpu::count()), Some(thread), f)
}

fn spawn_with(
    tid: u32,
    name: &str,
    affinity: &CpuSet,
    user: Option<UserHalf>,
    f: impl FnOnce() + Send + 'static,
) -> Result<TaskRef, OutOfMemory> {
    let (mm, frame) = (TaskMm::kernel(), TrapFrame::default());
    let body: Box<dyn FnOnce() + Send> = Box::new(f);
    let task = spawn::create(Plan { tid, name, mm, affinity, user, frame: &frame, body: Some(body) })?;
    spawn::start(&task);
    Ok(task)
}
