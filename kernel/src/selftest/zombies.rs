//! Mms without users that CPUs still borrow, under a policy that waits for these CPUs.

use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use kcore::cpu::CpuId;
use kcore::mm::MmId;

use super::scene::{Counts, Scene};
use super::stage::{drain_borrows, has, make_lazy, other_cpus, owes, start_on, total, wait_for};
use super::{Stop, Test, Verdict, check, check_eq};
use crate::errno::Errno;
use crate::machine::lazy_tlb;
use crate::memory::frame;
use crate::mm;
use crate::task::WOKEN_TO_LET_GO;

pub(super) const TESTS: &[Test] = &[
    Test::new("zombies_are_let_go", are_let_go),
    Test::new("zombies_when_pids_run_short", when_pids_run_short),
];

/// A zombie that `cpu` alone has loaded, in its idle task.
fn pinned(scene: &mut Scene, cpu: CpuId) -> Result<MmId, Stop> {
    let mm = scene.mm()?;
    drain_borrows();
    make_lazy(&[cpu], mm);
    lazy_tlb().mmput(mm);
    check!(has(cpu, mm), "the CPU is not lazy on the zombie");
    Ok(mm)
}

fn skip_unless_it_waits() -> Result<(), Stop> {
    if owes().waits { Ok(()) } else { Err(Stop::Skip("the policy waits for no CPU")) }
}

/// The CPU that has a zombie loaded runs nothing that ends its borrow: it lets go by itself, without
/// an IPI. First it sleeps, and its own timer wakes it; then kernel threads run there now and then,
/// which hand the borrow on.
fn are_let_go() -> Verdict {
    skip_unless_it_waits()?;
    let (mut scene, [cpu]) = Scene::with_last()?;
    let asked = total(|c| &c.let_go_ipi);
    let mut freed = 0;
    let mut expect_let_go = |scene: &mut Scene, meanwhile: fn(CpuId)| -> Verdict {
        let mm = pinned(scene, cpu)?;
        freed += 1;
        let is_freed = || {
            meanwhile(cpu);
            scene.cost().freed == freed
        };
        check!(wait_for(is_freed), "an idle CPU keeps {mm:?}");
        check!(!has(cpu, mm), "the CPU still has the mm");
        Ok(())
    };
    // The watchdog's timer may come first now and then, when the time is over.
    let woken = || WOKEN_TO_LET_GO.load(Ordering::Relaxed);
    let (before, mut tries) = (woken(), 0..3);
    while woken() == before {
        check!(tries.next().is_some(), "no idle CPU was woken by the timer for what it borrows");
        expect_let_go(&mut scene, |_| ())?;
    }
    expect_let_go(&mut scene, |cpu| start_on(cpu, || ()).result())?;
    check_eq!(total(|c| &c.let_go_ipi) - asked, 0, "CPUs that were asked");
    scene.expect(Counts { freed, ..Counts::ZERO })?;
    scene.end(&[])
}

/// Every other CPU has a zombie loaded, and all other PIDs are in use. The next address spaces get
/// the zombies' PIDs, which CPUs are asked to let go, and then one is refused.
fn when_pids_run_short() -> Verdict {
    skip_unless_it_waits()?;
    let pids = lazy_tlb().mms().len();
    // The root of a tree takes 16 pages; the oracle keeps some more.
    if !frame::has_spare(pids as u64 * 24) {
        return Err(Stop::Skip("memory for all address spaces is missing"));
    }
    let others = other_cpus();
    let mut scene = Scene::new();
    // Each drain would let the zombies before it go.
    let zombies: Vec<MmId> = others.iter().map(|_| scene.mm()).collect::<Result<_, _>>()?;
    drain_borrows();
    for (&cpu, &mm) in others.iter().zip(&zombies) {
        make_lazy(&[cpu], mm);
        lazy_tlb().mmput(mm);
    }
    let asked = total(|c| &c.let_go_ipi);
    let mut mms = Vec::with_capacity(pids);
    let refused = loop {
        match mm::create() {
            Ok(mm) => mms.push(mm),
            Err(errno) => break errno,
        }
    };
    let loaded = |mm: &&MmId| lazy_tlb().cpus().iter().any(|cpu| cpu.active_mm.peek().pid() == mm.pid());
    let in_use = mms.iter().filter(loaded).count();
    let freed = scene.cost().freed;
    mms.drain(..).for_each(|mm| lazy_tlb().mmput(mm));
    drop(mms);
    check_eq!(refused, Errno::EAGAIN, "the answer to one more address space");
    check_eq!(in_use, 0, "address spaces whose PID a CPU had loaded when it was handed out");
    check_eq!(freed, zombies.len() as u64, "zombies that were freed for their PIDs");
    check!(total(|c| &c.let_go_ipi) - asked <= others.len() as u64, "more IPIs than CPUs with a zombie");
    drain_borrows();
    Ok(())
}
