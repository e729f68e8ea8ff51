//! What was recorded, for readers inside the kernel.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write as _;
use core::sync::atomic::Ordering;

use arch::timer;
use kcore::cpu::CpuId;
use trace_format::{Kind, Line, Record};

use super::rings;
use super::setting::{groups, names, stopped};
use crate::machine::lazy_tlb;

/// The last records of all CPUs, `most` at most, by time, each with its CPU. The trace stands still
/// meanwhile; what that itself records is left out. Interrupts and preemption on.
pub(crate) fn last(most: usize) -> Vec<(CpuId, Record)> {
    let until_tb = timer::now_tb();
    let mut found = stopped(|| last_of_each(most, until_tb));
    // The order within a CPU is part of the key: a sort that keeps it takes 4 KB of the stack.
    found.sort_unstable_by_key(|&(cpu, position, record): &(CpuId, u64, Record)| {
        (record.time, cpu.index(), position)
    });
    let last = found.split_off(found.len().saturating_sub(most));
    last.into_iter().map(|(cpu, _, record)| (cpu, record)).collect()
}

/// The last records of each CPU before a time, each with its CPU and its number there.
fn last_of_each(most: usize, until_tb: u64) -> Vec<(CpuId, u64, Record)> {
    let mut found = Vec::new();
    for (cpu, ring) in rings::all().unwrap_or_default().iter().enumerate() {
        let (end, room) = (ring.begun(), ring.room());
        let records = (end.saturating_sub(room)..end).rev().filter_map(|position| {
            // SAFETY: the ring has room for so many records.
            let words = unsafe { &*ring.head.records.add((position % room) as usize) };
            let words = words.each_ref().map(|word| word.load(Ordering::Relaxed));
            Record::decode(words, position).map(|record| (CpuId::new(cpu), position, record))
        });
        found.extend(records.skip_while(|(.., record)| record.time >= until_tb).take(most));
    }
    found
}

/// As text, the last records of all CPUs, `most` at most, what is on, and how much is lost.
pub(crate) fn render(most: usize) -> String {
    let mut text =
        if groups() == 0 { "# off\n".into() } else { alloc::format!("# on: {}\n", names(groups())) };
    let losers =
        || rings::all().unwrap_or_default().iter().map(rings::Ring::overrun).filter(|&lost| lost > 0);
    if losers().next().is_some() {
        let (lost, cpus, of) = (losers().sum::<u64>(), losers().count(), lazy_tlb().nr_cpus());
        // Writing to a string does not fail.
        let _ = writeln!(text, "# {lost} earlier events of {cpus} of {of} CPUs are overwritten");
    }
    let mut tids = alloc::vec![None; lazy_tlb().nr_cpus()];
    for (cpu, record) in last(most) {
        let (cpu, ticks) = (cpu.index(), timer::ticks_per_us() * 1_000_000);
        let _ = writeln!(text, "{}", Line { task: None, tid: tids[cpu], cpu, ticks, record });
        if record.body.kind == Kind::Switch {
            tids[cpu] = Some(record.body.other);
        }
    }
    text
}

/// How many records of `cpu` are overwritten, for tests.
#[cfg(feature = "selftest")]
pub(crate) fn overrun(cpu: CpuId) -> u64 {
    rings::all().map_or(0, |rings| rings[cpu.index()].overrun())
}

/// How many records were begun on all CPUs, for tests.
#[cfg(feature = "selftest")]
pub(crate) fn begun() -> u64 {
    rings::all().map_or(0, |rings| rings.iter().map(rings::Ring::begun).sum())
}
