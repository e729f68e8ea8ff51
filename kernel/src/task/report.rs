//! Tasks in words, for a human who wonders why nothing happens.

use core::fmt;

use arch::backtrace::{Backtrace, Step};
use arch::percpu::PerCpu;

use super::descriptor::Task;
use super::registry;
use crate::println;
use crate::symbols::Symbol;

/// How many callers of a sleeper are shown.
const FRAMES: usize = 8;

/// The task that runs on a CPU. Any context, before [`super::init`] too. For another CPU it is a
/// hint, unless that CPU was stopped.
pub(crate) struct Running(pub(crate) &'static PerCpu);

impl fmt::Display for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match running(self.0) {
            Some(task) => write!(f, "task {} ({})", task.tid, task.name()),
            None => f.write_str("no task yet"),
        }
    }
}

/// The address spaces of the task that runs on a CPU; with the limits of [`Running`].
pub(crate) struct RunningMm(pub(crate) &'static PerCpu);

impl fmt::Display for RunningMm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match running(self.0) {
            Some(task) => write!(f, "mm {:?}, active_mm {:?}", task.mm.mm(), task.mm.active_mm()),
            None => f.write_str("none yet"),
        }
    }
}

fn running(area: &PerCpu) -> Option<&Task> {
    let task: *const Task = area.current().cast();
    // SAFETY: null, or the task that runs there, which cannot end while it does. If that CPU
    // switches meanwhile, the task may have ended: then this reads heap memory, which stays mapped.
    unsafe { task.as_ref() }
}

/// Prints every task and where it sleeps. Takes the lock of the table of tasks. The tasks may move
/// meanwhile: the output is a hint.
#[cfg_attr(not(feature = "selftest"), expect(dead_code, reason = "the tests call it"))]
pub(crate) fn print_tasks() {
    registry::for_each(|task| {
        let on_cpu = task.on_cpu.is_set();
        println!(
            "task {} ({}): {}{}, {}, mm {:?}, active_mm {:?}",
            task.tid,
            task.name(),
            task.run_state.name(),
            if on_cpu { " on a CPU" } else { "" },
            task.cpu(),
            task.mm.mm(),
            task.mm.active_mm()
        );
        if on_cpu {
            return;
        }
        // SAFETY: a word of a live task. If it starts to run meanwhile the walk is wrong, but the
        // walker checks each step.
        let sp = unsafe { (*task.context.get()).stack_pointer() };
        for step in Backtrace::from_stack(sp).take(FRAMES) {
            if let Step::Call(address) = step {
                println!("    {}", Symbol(address));
            }
        }
    });
}
