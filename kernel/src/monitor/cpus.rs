//! `cpus`: what every CPU has loaded, and why.

use alloc::format;

use terminal::table::Table;

use super::machine;
use crate::machine::lazy_tlb;
use crate::{print, println};

/// Prints a line a CPU.
pub(super) fn show() {
    let seen = machine::look();
    let mut table = Table::new(["CPU", "task", "mm", "active_mm", "PIDR", "mask", "what it is"]);
    for cpu in &seen {
        table.row([
            &cpu.cpu.index(),
            &format!("{} {}", cpu.tid, cpu.name),
            &format!("{:?}", cpu.mm),
            &format!("{:?}", cpu.active_mm),
            &cpu.pidr,
            &u32::from(cpu.in_mask),
            &cpu.verdict(),
        ]);
    }
    print!("{table}");
    let lazy = seen.iter().filter(|cpu| cpu.is_lazy()).count();
    let all = lazy_tlb().nr_cpus();
    println!(
        "policy {}, {} of {all} CPUs online, {lazy} lazy",
        lazy_tlb().config().policy.name(),
        seen.len()
    );
}
