//! Tasks and the scheduler.
//!
//! One FIFO run queue per CPU, round robin with a time slice; no priorities. The part that matters
//! is the switch: there address spaces are borrowed.
//!
//! Reading order: [`kcore::handoff`] (asleep and awake), [`descriptor`] (the task), [`switch`] (the
//! context switch), [`placement`] (which CPU), [`idle`], [`preempt`], [`timer`]; then the parts
//! built on them: [`kthread`], [`work`], [`mod@offline`].
//!
//! Lock order, outermost first: a wait queue, an awaited value or a CPU's alarms; a run queue. No two
//! of a kind are held at once, with one exception: the alarms of a CPU that has gone offline are taken
//! before those of the CPU that inherits them.

mod affinity;
mod awaited;
mod cpu;
mod cpu_bits;
mod descriptor;
mod exit;
mod fault_place;
mod idle;
pub(crate) mod kthread;
pub(crate) mod layout;
mod mutex;
mod name;
mod offline;
mod placement;
mod preempt;
pub(crate) mod registry;
pub(crate) mod report;
mod resched;
mod run_queue;
mod smp;
mod spawn;
mod switch;
pub(crate) mod timer;
mod usage;
mod wait_queue;
mod watchdog;
mod window;
pub(crate) mod work;

pub(crate) use affinity::set_affinity;
pub(crate) use awaited::{Awaited, Ready};
pub(crate) use cpu::{
    area_addresses, area_of, claim, claims, idle_time_tb, init, ipi_target_of, online_cpus,
};
#[cfg(feature = "selftest")]
pub(crate) use cpu_bits::{CpuBits, search};
pub(crate) use descriptor::{Own, Task, TaskPtr, TaskRef, current, current_mm, current_ref, pending};
pub(crate) use exit::exit_current;
pub(crate) use fault_place::FaultPlace;
pub(crate) use idle::idle_for_ever;
#[cfg(feature = "selftest")]
pub(crate) use idle::{WOKEN_TO_LET_GO, is_idle};
pub(crate) use mutex::{Mutex, MutexGuard};
pub(crate) use name::TaskName;
pub(crate) use offline::{Refused, is_online, offline, online};
pub(crate) use preempt::{preempt_from_interrupt, prepare_user_return, reschedule_if_allowed};
pub(crate) use resched::handle_ipi;
pub(crate) use smp::start_secondaries;
pub(crate) use spawn::{OutOfMemory, create_user, set_user_frame, start};
pub(crate) use switch::{sleep_within, yield_now};
#[cfg(feature = "selftest")]
pub(crate) use timer::sleep_until_tb;
pub(crate) use timer::timer_tick;
pub(crate) use usage::Usage;
pub(crate) use wait_queue::{Interrupted, WaitQueue};
pub(crate) use window::Window;
