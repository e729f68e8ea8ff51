//! /proc/interrupts: the interrupts of each CPU, one column per CPU, as in Linux.

use alloc::string::String;
use core::fmt::Write as _;

use kcore::counters::Counters;
use kcore::cpu::CpuId;

use crate::errno::Errno;
use crate::machine::lazy_tlb;
use crate::memory::heap;
use crate::task;

/// Rows of counters: Linux's name where it has one, the counter, and its meaning.
const ROWS: [(&str, &str, &str); 5] = [
    ("IPI", "ipi_received", "Interrupts from other CPUs"),
    ("RES", "ipi_resched", "Rescheduling interrupts"),
    ("TLB", "call_flush", "TLB shootdowns"),
    ("LZY", "call_lazy", "Lazy TLB: calls to let go of an mm"),
    ("MBR", "call_barrier", "Memory barrier calls"),
];

/// The text. CPUs that are offline have no column.
pub(super) fn render() -> Result<String, Errno> {
    let cpus = lazy_tlb().online();
    // A heading and the rows: eleven characters per CPU, a name and a meaning.
    heap::check_room((ROWS.len() + 2) * (cpus.iter().count() * 11 + 64))?;
    let mut text = String::from("    ");
    // Writing to a string does not fail.
    for cpu in cpus.iter() {
        let _ = write!(text, "{:<11}", alloc::format!("       CPU{}", cpu.index()));
    }
    text += "\n";
    let mut row = |name: &str, count: &dyn Fn(CpuId) -> u64, what: &str| {
        let _ = write!(text, "{name:>3}:");
        for cpu in cpus.iter() {
            let _ = write!(text, " {:>10}", count(cpu));
        }
        let _ = writeln!(text, "   {what}");
    };
    row("LOC", &task::timer::ticks_of, "Local timer interrupts");
    for (name, counter, what) in ROWS {
        let at = Counters::NAMES.iter().position(|&one| one == counter).expect("no counter of this name");
        row(name, &|cpu| lazy_tlb().cpu(cpu).counters.values()[at], what);
    }
    Ok(text)
}
