//! `ps`: every task but the idle ones.

use alloc::format;

use terminal::table::Table;

use crate::print;
use crate::task::registry;

/// Prints a line per task. The tasks go on meanwhile, so the answer is a hint.
pub(super) fn show() {
    let mut table = Table::new(["TID", "PID", "state", "CPU", "mm", "active_mm", "name"]);
    for task in registry::snapshot() {
        let process = match &task.user {
            Some(thread) => format!("{}", thread.process.pid),
            None => "-".into(),
        };
        table.row([
            &task.tid(),
            &process,
            &task.state(),
            &task.cpu().index(),
            &format!("{:?}", task.mm.mm()),
            &format!("{:?}", task.mm.active_mm()),
            &task.name(),
        ]);
    }
    print!("{table}");
}
