//! `mms`: every address space, its counts, and the CPUs and tasks that use it.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use kcore::cpu::CpuId;
use kcore::mm::{Mm, MmId};
use terminal::ranges::ranges;
use terminal::table::Table;

use super::machine::{self, Seen};
use crate::machine::lazy_tlb;
use crate::task::{TaskRef, registry};
use crate::{print, println};

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
        let [users, count, state] = life(id, mm);
        table.row([
            &format!("{id:?}"),
            &id.pid().get(),
            &users,
            &count,
            &state,
            &ranges(mask.iter().map(CpuId::index)),
            &on(false),
            &on(true),
            &names(id, &tasks),
        ]);
    }
    print!("{table}");
}

/// Prints all about the address space that `words` name: `mm3.1`, or `mm3` or `3` for the one in that slot.
pub(super) fn show_one(words: &[&str]) {
    let Some(&name) = words.first() else {
        return println!("usage: mm NAME, or its PID, as `mms` shows them");
    };
    let (kernel, cpus) = (lazy_tlb(), machine::look());
    let slot = name.strip_prefix("mm").unwrap_or(name).parse();
    let is_named = |id: MmId| format!("{id:?}") == name || slot == Ok(id.pid().get());
    let Some(mm) = kernel.mms().iter().find(|mm| mm.id().is_some() && is_named(mm.id())) else {
        return println!("mm: there is no {name}; `mms` lists the address spaces");
    };
    let id = mm.id();
    let [users, count, state] = life(id, mm);
    println!("{id:?}: PID {}, {state}; mm_users {users}, mm_count {count}", id.pid().get());
    println!("mask     {}", ranges(mm.cpumask().peek(kernel.nr_cpus()).iter().map(CpuId::index)));
    for cpu in cpus.iter().filter(|cpu| cpu.active_mm == id) {
        println!("CPU {:<4} {} {}: {}", cpu.cpu.index(), cpu.tid, cpu.name, cpu.verdict());
    }
    for task in registry::snapshot().iter().filter(|task| task.mm.mm() == id) {
        println!("task     {} {}: {}, on CPU {}", task.tid(), task.name(), task.state(), task.cpu().index());
    }
}

/// Users, count, and the state that they mean.
pub(super) fn life(id: MmId, mm: &Mm) -> [String; 3] {
    let Some((users, count)) = mm.counts() else { return ["-", "-", "freed"].map(String::from) };
    let state = match (users, count) {
        _ if id == MmId::INIT_MM => "for ever",
        (0, 0) => "dying",
        (0, _) => "zombie",
        _ => "live",
    };
    [users.to_string(), count.to_string(), state.into()]
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
