//! Every task, for a human who wonders why nothing happens.

use core::sync::atomic::Ordering;

use powerpc64::backtrace::{Backtrace, Step};

use super::registry;
use crate::println;
use crate::symbols::Symbol;

/// How many callers of a sleeper are shown.
const FRAMES: usize = 8;

/// Prints every task and where it sleeps. Takes the lock of the table of tasks.
/// The tasks may move meanwhile: what it shows is a hint.
pub(crate) fn print_tasks() {
    registry::for_each(|task| {
        let on_cpu = task.on_cpu.load(Ordering::Relaxed) != 0;
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
        // SAFETY: a word of a live task. If it starts to run meanwhile the walk is
        // wrong, but the walker trusts nothing.
        let sp = unsafe { (*task.context.get()).stack_pointer() };
        for step in Backtrace::from_stack(sp).take(FRAMES) {
            if let Step::Call(address) = step {
                println!("    {}", Symbol(address));
            }
        }
    });
}
