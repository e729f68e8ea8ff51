//! `mms`: every address space, its counts, and the CPUs and tasks that use it.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use kcore::cpu::CpuId;
use kcore::mm::MmId;
use terminal::ranges::ranges;
use terminal::table::Table;

use super::machine::{self, Seen};
use crate::machine::lazy_tlb;
use crate::print;
use crate::task::{TaskRef, registry};

/// Prints a line per address space.
///
/// The counts are read one after the other while the machine goes on: those of a busy mm may not
/// fit together.
pub(super) fn show() {
    let (kernel, cpus, tasks) = (lazy_tlb(), machine::look(), registry::snapshot());
    let mut table =
        Table::new(["mm", "PID", "users", "count", "state", "mask", "runs on", "lazy on", "tasks"]);
    for mm in kernel.mms() {
        let id = mm.id();
        if id.is_none() {
            continue;
        }
        let on = |lazy: bool| {
            let there = cpus.iter().filter(|cpu: &&Seen| cpu.active_mm == id && cpu.is_lazy() == lazy);
            ranges(there.map(|cpu| cpu.cpu.index()))
        };
        let mask = mm.cpumask().peek(kernel.nr_cpus());
        table.row([
            &format!("{id:?}"),
            &id.pid().get(),
            &mm.users(),
            &mm.count(),
            &state(id, mm.users()),
            &ranges(mask.iter().map(CpuId::index)),
            &on(false),
            &on(true),
            &names(id, &tasks),
        ]);
    }
    print!("{table}");
}

/// The state that the counts mean.
fn state(id: MmId, users: u32) -> &'static str {
    match users {
        _ if id == MmId::INIT_MM => "for ever",
        0 => "zombie",
        _ => "live",
    }
}

/// The tasks that own a share of it, the first few by name.
fn names(id: MmId, tasks: &[TaskRef]) -> String {
    const SHOWN: usize = 3;
    let owners = || tasks.iter().filter(|task| task.mm.mm() == id);
    let name = |task: &TaskRef| format!("{} {}", task.tid(), task.name());
    let mut names: Vec<String> = owners().take(SHOWN).map(name).collect();
    let more = owners().skip(SHOWN).count();
    if more > 0 {
        names.push(format!("{more} more"));
    }
    if names.is_empty() { "-".into() } else { names.join(", ") }
}
