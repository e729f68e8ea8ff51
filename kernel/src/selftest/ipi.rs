//! Cross-calls and reschedules from all CPUs to all CPUs.

use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

use kcore::cpu::{CpuId, CpuSet, MAX_CPUS};
use kcore::ipi::Call;
use kcore::machine::Cpu;

use super::stage::{all_cpus, on_cpus, others, total};
use super::{Test, Verdict, check, check_eq};
use crate::machine::{call_function, lazy_tlb};

pub(super) const TESTS: &[Test] = &[
    Test::new("ipi_counts_are_real", counts_are_real),
    Test::new("ipi_storm_all_to_all", storm),
    Test::new("ipi_mask_names_a_subset", subset),
];

/// Hits, by the CPU that ran the call.
static HITS: [AtomicU64; MAX_CPUS] = [const { AtomicU64::new(0) }; MAX_CPUS];

fn hit(amount: u64) {
    HITS[arch::percpu::cpu_id().index()].fetch_add(amount, Ordering::Relaxed);
}

fn hits() -> u64 {
    HITS.iter().map(|hits| hits.load(Ordering::Relaxed)).sum()
}

/// A call is carried by interrupts: senders and receivers count them.
fn counts_are_real() -> Verdict {
    let kernel = lazy_tlb();
    let [_] = others()?;
    let received_before = total(|c| &c.ipi_received);
    let sent = kernel.machine.with_preempt_off(|t| {
        let others = kernel.online().without(t.cpu());
        let sent_before = kernel.cpu(t.cpu()).counters.ipi_sent_call.get();
        kernel.call_on_mask(t, &others, Call::Barrier);
        kernel.cpu(t.cpu()).counters.ipi_sent_call.get() - sent_before
    });
    check_eq!(sent, kernel.nr_cpus() as u64 - 1, "IPIs sent for one call to all others");
    let received = total(|c| &c.ipi_received) - received_before;
    check!(received >= sent, "{sent} IPIs sent, but only {received} received");
    Ok(())
}

/// Every CPU calls all others at once, again and again: initiators cross.
fn storm() -> Verdict {
    const MOST_CALLS: u64 = 600;
    let kernel = lazy_tlb();
    let cpus = kernel.nr_cpus() as u64;
    // Every CPU waits for all others in each round, and a host runs few at a time.
    let rounds = (MOST_CALLS / (cpus * cpus)).max(2);
    let before = hits();
    on_cpus(&all_cpus(), move || {
        for _ in 0..rounds {
            kernel.machine.with_preempt_off(|t| {
                call_function(t, &kernel.online().without(t.cpu()), hit, 1);
            });
        }
    });
    check_eq!(hits() - before, rounds * cpus * (cpus - 1), "handlers run");
    Ok(())
}

/// Only the CPUs that are named run the call.
fn subset() -> Verdict {
    let kernel = lazy_tlb();
    let odd = |cpu: CpuId| cpu.index() % 2 == 1;
    let before: Vec<u64> = HITS.iter().map(|hits| hits.load(Ordering::Relaxed)).collect();
    let called = kernel.machine.with_preempt_off(|t| {
        let mut targets = CpuSet::EMPTY;
        kernel.online().without(t.cpu()).iter().filter(|&cpu| odd(cpu)).for_each(|cpu| targets.insert(cpu));
        call_function(t, &targets, hit, 1);
        targets
    });
    for cpu in kernel.online().iter() {
        let ran = HITS[cpu.index()].load(Ordering::Relaxed) - before[cpu.index()];
        check_eq!(ran, u64::from(called.contains(cpu)), alloc::format!("calls run on {cpu}"));
    }
    Ok(())
}
