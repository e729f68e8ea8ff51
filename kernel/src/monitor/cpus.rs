//! `cpus`: the address space that each CPU has loaded, and why.

use alloc::format;

use terminal::table::Table;

use super::machine;
use crate::machine::lazy_tlb;
use crate::{print, println};

/// Prints a line per CPU. A CPU that does not answer is offline.
pub(super) fn show() {
    let (seen, all) = (machine::look(), lazy_tlb().nr_cpus());
    let mut answers = seen.iter().peekable();
    let mut table = Table::new(["CPU", "task", "mm", "active_mm", "PIDR", "mask", "what it is"]);
    for number in 0..all {
        match answers.next_if(|cpu| cpu.cpu.index() == number) {
            Some(cpu) => table.row([
                &number,
                &format!("{} {}", cpu.tid, cpu.name),
                &format!("{:?}", cpu.mm),
                &format!("{:?}", cpu.active_mm),
                &cpu.pidr,
                &u32::from(cpu.in_mask),
                &cpu.verdict(),
            ]),
            None => table.row([&number, &"-", &"-", &"-", &"-", &"-", &"offline"]),
        }
    }
    print!("{table}");
    let lazy = seen.iter().filter(|cpu| cpu.is_lazy()).count();
    println!(
        "policy {}, {} of {all} CPUs online, {lazy} lazy",
        lazy_tlb().config().policy.name(),
        seen.len()
    );
}
