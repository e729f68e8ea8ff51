//! A scene: the set-up, script, counts and clean-up of a test of the protocol.
//!
//! A scene begins with no borrows, plays a script, and ends with its books balanced. A test
//! may return in the middle of it: dropped, a scene lets its parts go, and has the test
//! give up its mm and return to its CPU.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use arch::percpu;
use kcore::cpu::CpuId;
use kcore::mm::MmId;

use super::address_space::{map_written_page, new_mm};
use super::script::{self, Play, Step};
use super::stage::{Helper, drain_borrows, last_others, make_lazy, move_to, others, start_on, total};
use super::{Stop, Verdict, check_eq};
use crate::machine::lazy_tlb;
use crate::task::{self, TaskRef};

/// The counters in which the policies differ.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Counts {
    /// Mms that were freed.
    pub(super) freed: u64,
    /// IPIs of an exit's final flush, which kick lazy CPUs.
    pub(super) exit_kick: u64,
    /// IPIs of a last drop.
    pub(super) shot_ipi: u64,
    /// Last drops on a CPU that had the mm itself.
    pub(super) shot_self: u64,
}

impl Counts {
    pub(super) const ZERO: Counts = Counts { freed: 0, exit_kick: 0, shot_ipi: 0, shot_self: 0 };

    fn now() -> Counts {
        Counts {
            freed: total(|c| &c.mm_freed),
            exit_kick: total(|c| &c.exit_kick),
            shot_ipi: total(|c| &c.shot_ipi),
            shot_self: total(|c| &c.shot_self),
        }
    }
}

/// One test's CPU, address spaces and script, and their cost.
pub(super) struct Scene {
    me: CpuId,
    before: Counts,
    /// `mm_count` of `init_mm` when no other mm is borrowed.
    counts_of_init: u32,
    mms_made: u64,
    play: Option<Play>,
    parts: Vec<TaskRef>,
}

impl Scene {
    /// A scene without borrows; this thread is on the stage.
    pub(super) fn new() -> Scene {
        drain_borrows();
        Scene {
            me: percpu::cpu_id(),
            before: Counts::now(),
            counts_of_init: lazy_tlb().mm(MmId::INIT_MM).count(),
            mms_made: 0,
            play: None,
            parts: Vec::new(),
        }
    }

    /// A scene, this CPU, and `N` others; without them the test is skipped.
    pub(super) fn with<const N: usize>() -> Result<(Scene, CpuId, [CpuId; N]), Stop> {
        let others = others()?;
        let scene = Scene::new();
        Ok((scene, percpu::cpu_id(), others))
    }

    /// A scene and the last `N` CPUs, the last first; without them the test is skipped.
    pub(super) fn with_last<const N: usize>() -> Result<(Scene, [CpuId; N]), Stop> {
        let cpus = last_others()?;
        Ok((Scene::new(), cpus))
    }

    /// A new address space without a page. The test is its user.
    pub(super) fn empty_mm(&mut self) -> Result<MmId, String> {
        self.mms_made += 1;
        new_mm()
    }

    /// A new address space with a page that was written here, and the page's address.
    pub(super) fn page(&mut self) -> Result<(MmId, u64), String> {
        let mm = self.empty_mm()?;
        Ok((mm, map_written_page(mm)?))
    }

    /// A new address space with a page that was written here.
    pub(super) fn mm(&mut self) -> Result<MmId, String> {
        self.page().map(|(mm, _)| mm)
    }

    /// A new address space with a page, on which each of `cpus` is lazy where the policy borrows.
    pub(super) fn lazy_mm(&mut self, cpus: &[CpuId]) -> Result<MmId, String> {
        let mm = self.mm()?;
        make_lazy(cpus, mm);
        Ok(mm)
    }

    /// Plays `script` from now on. Every thread that has a part stays on its CPU.
    pub(super) fn play(&mut self, script: &[Step]) {
        self.play = Some(script::play(script));
    }

    /// Runs `f` in a kernel thread on `cpu`, which comes to no step of the script after `f`.
    pub(super) fn part<R: Send + 'static>(
        &mut self,
        cpu: CpuId,
        f: impl FnOnce() -> R + Send + 'static,
    ) -> Helper<R> {
        let part = start_on(cpu, move || {
            let result = f();
            script::finished();
            result
        });
        self.parts.push(part.task.clone());
        part
    }

    /// Has the scene wait for `part`, a thread that the test has started, too.
    pub(super) fn awaits(&mut self, part: TaskRef) {
        self.parts.push(part);
    }

    /// How many steps of the script are passed.
    pub(super) fn passed(&self) -> usize {
        self.play.as_ref().map_or(0, Play::passed)
    }

    /// The test's own part is over: waits for the others and ends the script. Fails unless
    /// every step has come.
    pub(super) fn played(&mut self) -> Result<(), Stop> {
        self.curtain().map_or(Ok(()), |play| play.complete())
    }

    /// [`Scene::played`], with only the first `steps` steps required.
    pub(super) fn played_first(&mut self, steps: usize) -> Result<(), Stop> {
        self.curtain().map_or(Ok(()), |play| play.came(steps))
    }

    /// Waits for the threads that have a part.
    pub(super) fn join(&mut self) {
        self.parts.drain(..).for_each(|part| part.wait_exit());
    }

    /// The test has no further step: waits for the parts. Returns the script, if there was one.
    fn curtain(&mut self) -> Option<Play> {
        script::finished();
        self.join();
        self.play.take()
    }

    /// The counters since the scene began.
    pub(super) fn cost(&self) -> Counts {
        let (now, before) = (Counts::now(), self.before);
        Counts {
            freed: now.freed - before.freed,
            exit_kick: now.exit_kick - before.exit_kick,
            shot_ipi: now.shot_ipi - before.shot_ipi,
            shot_self: now.shot_self - before.shot_self,
        }
    }

    /// Fails unless the counters since the scene began are `cost`.
    pub(super) fn expect(&self, cost: Counts) -> Result<(), String> {
        check_eq!(self.cost(), cost, format!("the cost under {}", lazy_tlb().config().policy.name()));
        Ok(())
    }

    /// Gives up the mm that this thread runs, and `mms`, of which the test is the last user.
    /// Fails unless every mm of the scene is freed then, and `init_mm` has the count that it
    /// had when the scene began.
    pub(super) fn end(mut self, mms: &[MmId]) -> Verdict {
        drop(self.curtain());
        give_up();
        mms.iter().for_each(|&mm| lazy_tlb().mmput(mm));
        drain_borrows();
        check_eq!(self.cost().freed, self.mms_made, "mms freed once nobody borrows");
        check_eq!(lazy_tlb().mm(MmId::INIT_MM).count(), self.counts_of_init, "mm_count of init_mm");
        Ok(())
    }
}

/// Ends the current thread's use of an mm, if it has one.
fn give_up() {
    if task::current().mm.mm().is_some() {
        lazy_tlb().exit_mm();
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        drop(self.curtain());
        give_up();
        if percpu::cpu_id() != self.me {
            move_to(self.me);
        }
    }
}
