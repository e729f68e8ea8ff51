//! Orders drawn from a seed, and forced point by point.

use super::*;
use crate::println;
use crate::selftest::random::{self, Random};

/// The exit, uses, flushes and migrations of one mm at once, on up to four CPUs, in
/// orders drawn from the seed and forced point by point.
pub(super) fn orders_drawn_at_random() -> Verdict {
    const ROUNDS: usize = 20;
    let [_] = others()?;
    let cpus: Vec<CpuId> = lazy_tlb().online().iter().take(4).collect();
    let seed = random::seed();
    println!("# seed={seed}");
    let mut random = Random::new(seed);
    (0..ROUNDS).try_for_each(|round| {
        one_order(&cpus, &mut random).map_err(|stop| match stop {
            Stop::Fail(why) => format!("round {round} of seed={seed}: {why}").into(),
            skip => skip,
        })
    })
}

fn one_order(cpus: &[CpuId], random: &mut Random) -> Verdict {
    const STEPS: usize = 24;
    let mut scene = Scene::new();
    let mm = scene.mm()?;
    make_lazy(cpus, mm);
    let script: Vec<Step> = (0..STEPS).map(|_| Step::Any(cpus[random.below(cpus.len())])).collect();
    scene.play(&script);
    // This CPU's last: its part may keep us from starting another.
    for &cpu in cpus.iter().rev() {
        let part = PARTS[random.below(PARTS.len())];
        lazy_tlb().mmget(mm);
        scene.part(cpu, move || part(mm));
    }
    scene.join();
    scene.end(&[mm])
}

/// The parts of a CPU that has one unit of `mm_users`.
const PARTS: &[fn(MmId)] = &[run_and_exit, use_and_flush, outlive, exec_away];

fn use_and_flush(mm: MmId) {
    inside(mm, || lazy_tlb().flush(mm, FlushRange::Everything));
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
