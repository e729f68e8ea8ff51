//! Orders that nobody thought of: drawn from a seed, and forced point by point.

use alloc::format;
use alloc::vec::Vec;

use kcore::cpu::CpuId;
use kcore::mm::MmId;
use kcore::mm::flush::FlushRange;

use super::{ONE_CPU, end_of, part_on};
use crate::machine::lazy_tlb;
use crate::println;
use crate::selftest::points::{self, Step};
use crate::selftest::random::{self, Random};
use crate::selftest::stage::{Bill, drain_borrows, make_lazy, new_mm_with_page};
use crate::selftest::{Outcome, Verdict};
use crate::task::TaskRef;

/// The exit, uses, flushes and migrations of one mm at once, on up to four CPUs, in
/// orders drawn from the seed and forced point by point.
pub(super) fn orders_drawn_at_random() -> Verdict {
    const ROUNDS: usize = 30;
    const STEPS: usize = 24;
    let kernel = lazy_tlb();
    let cpus: Vec<CpuId> = kernel.online().iter().take(4).collect();
    if cpus.len() < 2 {
        return Ok(ONE_CPU);
    }
    let seed = random::seed();
    println!("# seed={seed}");
    let mut random = Random::new(seed);
    for round in 0..ROUNDS {
        drain_borrows();
        let before = Bill::now();
        let mm = new_mm_with_page()?;
        make_lazy(&cpus, mm);
        let steps: Vec<Step> = (0..STEPS).map(|_| Step::Any(cpus[random.below(cpus.len())])).collect();
        let play = points::play(&steps);
        // This CPU's last: its part may keep us from starting another.
        let parts: Vec<TaskRef> = cpus
            .iter()
            .rev()
            .map(|&cpu| {
                let part = PARTS[random.below(PARTS.len())];
                kernel.mmget(mm);
                part_on(cpu, move || part(mm))
            })
            .collect();
        parts.iter().for_each(|part| part.wait_exit());
        drop(play);
        end_of(&[mm], before, 1).map_err(|why| format!("round {round} of seed={seed}: {why}"))?;
    }
    Ok(Outcome::Pass)
}

/// What a CPU may do with an mm of which it has one user's unit.
const PARTS: &[fn(MmId)] = &[run_and_exit, use_and_flush, outlive, exec_away];

fn run_and_exit(mm: MmId) {
    lazy_tlb().exec_mmap(mm);
    lazy_tlb().exit_mm();
}

fn use_and_flush(mm: MmId) {
    lazy_tlb().kthread_use_mm(mm);
    lazy_tlb().flush(mm, FlushRange::Everything);
    lazy_tlb().kthread_unuse_mm(mm);
    lazy_tlb().mmput(mm);
}

fn outlive(mm: MmId) {
    lazy_tlb().mmgrab(mm);
    lazy_tlb().mmput(mm);
    lazy_tlb().mmdrop(mm);
}

fn exec_away(mm: MmId) {
    lazy_tlb().exec_mmap(mm);
    lazy_tlb().mmget(mm);
    lazy_tlb().exec_mmap(mm);
    lazy_tlb().flush(mm, FlushRange::Translations);
    lazy_tlb().exit_mm();
}
