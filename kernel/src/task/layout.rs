//! The layout of the scheduler's structures, in bytes, and the values of a task's state: for
//! [`crate::debug`].

use core::mem::offset_of;

use arch::context::Context;
pub(crate) use kcore::handoff::{
    DEAD as STATE_DEAD, PREPARING as STATE_PREPARING, RUNNING as STATE_RUNNING, SLEEPING as STATE_SLEEPING,
};

use super::cpu::Cpu;
use super::descriptor::Task;

pub(crate) const CPU_IDLE: usize = offset_of!(Cpu, idle);

pub(crate) const TASK_MM: usize = offset_of!(Task, mm);
pub(crate) const TASK_STATE: usize = offset_of!(Task, run_state);
pub(crate) const TASK_ON_CPU: usize = offset_of!(Task, on_cpu);
pub(crate) const TASK_CPU: usize = offset_of!(Task, cpu);
pub(crate) const TASK_TID: usize = offset_of!(Task, tid);
pub(crate) const TASK_NAME: usize = offset_of!(Task, name);
pub(crate) const TASK_SP: usize = offset_of!(Task, context) + Context::STACK_POINTER_OFFSET;
