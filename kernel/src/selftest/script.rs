//! Forced interleavings: the order in which CPUs pass places of the real code.
//!
//! A CPU that comes to a step of a *script* before its turn is held there. It spins with interrupts
//! and preemption as the code has them at that place: with interrupts on it serves calls. Every
//! hold has a limit, after which the CPU that did not come is reported. A script is written by
//! hand, or drawn from a seed: then its steps are [`Step::Any`].

use alloc::boxed::Box;
use alloc::format;
use alloc::vec::Vec;
use core::ptr::{self, null_mut};
use core::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

use arch::{irqflags, isa, percpu, timer};
use kcore::cpu::{CpuId, CpuMask};

use super::Stop;
use super::points::Place;
use crate::machine::lazy_tlb;
use crate::sync::SpinWait;

/// One step of a script.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Step {
    /// The CPU comes to the place.
    Reach(CpuId, Place),
    /// The CPU goes on from the place, which it came to in a step before.
    Leave(CpuId, Place),
    /// A thread of the test, on this CPU, calls [`mark`].
    Mark(CpuId),
    /// The CPU comes to any point of the protocol where interrupts are on.
    Any(CpuId),
}

impl Step {
    fn cpu(self) -> CpuId {
        match self {
            Step::Reach(cpu, _) | Step::Leave(cpu, _) | Step::Mark(cpu) | Step::Any(cpu) => cpu,
        }
    }
}

/// The steps of a CPU; see [`script!`].
pub(super) trait Acts {
    /// It comes to `place`.
    fn reaches(self, place: impl Into<Place>) -> Step;
    /// It goes on from `place`.
    fn leaves(self, place: impl Into<Place>) -> Step;
    /// A thread of the test calls [`mark`] on it.
    fn marks(self) -> Step;
}

impl Acts for CpuId {
    fn reaches(self, place: impl Into<Place>) -> Step {
        Step::Reach(self, place.into())
    }

    fn leaves(self, place: impl Into<Place>) -> Step {
        Step::Leave(self, place.into())
    }

    fn marks(self) -> Step {
        Step::Mark(self)
    }
}

/// A script as a picture: each line is a step, with its CPU, act and place.
macro_rules! script {
    ($($cpu:ident $does:ident $($place:expr)?;)+) => {
        &[$($crate::selftest::script::Acts::$does($cpu $(, $place)?)),+]
    };
}
pub(super) use script;

/// How long a CPU is held before the script fails, in milliseconds. Shorter than the watchdogs'
/// limit for a CPU with interrupts off.
const HOLD_MS: u64 = 8_000;

/// Steps, and how far they are played.
struct Script {
    steps: Vec<Step>,
    /// How many steps are passed.
    next: AtomicUsize,
    /// The first step that its CPU did not come to: others went on without it.
    missed: AtomicUsize,
    /// The CPUs that will not come to their further steps.
    finished: CpuMask,
}

/// The current script, or null. Scripts are never freed, since a CPU may look at one that has just
/// ended; they are few and small.
static SCRIPT: AtomicPtr<Script> = AtomicPtr::new(null_mut());

/// A script is played while this lives: until all threads that have a part have ended it.
pub(super) struct Play(&'static Script);

/// Plays `steps` from now on. The threads that have a part stay on their CPUs, and
/// call [`finished`] at their end.
pub(super) fn play(steps: &[Step]) -> Play {
    let script = Script {
        steps: steps.to_vec(),
        next: AtomicUsize::new(0),
        missed: AtomicUsize::new(usize::MAX),
        finished: CpuMask::default(),
    };
    let script: &'static Script = Box::leak(Box::new(script));
    // Release: the steps before the pointer to them. Partner: the acquire in `playing`.
    SCRIPT.store(ptr::from_ref(script).cast_mut(), Ordering::Release);
    Play(script)
}

impl Play {
    /// How many steps were passed.
    pub(super) fn passed(&self) -> usize {
        self.0.next.load(Ordering::Acquire)
    }

    /// Fails unless every step was passed by its own CPU.
    pub(super) fn complete(&self) -> Result<(), Stop> {
        self.came(self.0.steps.len())
    }

    /// Fails unless the first `steps` steps were passed by their own CPUs.
    pub(super) fn came(&self, steps: usize) -> Result<(), Stop> {
        let number = self.passed().min(self.0.missed.load(Ordering::Acquire));
        let missed = || format!("step {number} of the script did not come: {:?}", self.0.steps[number]);
        if number >= steps { Ok(()) } else { Err(missed().into()) }
    }
}

impl Drop for Play {
    fn drop(&mut self) {
        SCRIPT.store(null_mut(), Ordering::Relaxed);
    }
}

#[inline]
fn playing() -> Option<&'static Script> {
    // SAFETY: null, or a script, none of which is ever freed. Acquire: see `play`.
    unsafe { SCRIPT.load(Ordering::Acquire).as_ref() }
}

impl Script {
    /// The number of the next step for which `is` holds.
    fn find(&self, is: impl Fn(Step) -> bool) -> Option<usize> {
        let next = self.next.load(Ordering::Acquire);
        self.steps.iter().enumerate().skip(next).find(|&(_, &step)| is(step)).map(|(number, _)| number)
    }

    fn has_finished(&self, cpu: CpuId) -> bool {
        // Acquire: orders this look before our reads of what that CPU did. Partner: the release in
        // `finished`.
        self.finished.observe(lazy_tlb().nr_cpus()).contains(cpu)
    }

    /// Holds this CPU until `steps` steps are passed. `me` is this CPU if it comes to a step of its
    /// own. A CPU that comes to a later step, or has finished, does not come to its earlier steps
    /// any more.
    fn wait_until_passed(&self, steps: usize, me: Option<CpuId>) {
        let since_tb = timer::now_tb();
        loop {
            let next = self.next.load(Ordering::Acquire);
            if next >= steps {
                return;
            }
            let owner = self.steps[next].cpu();
            if Some(owner) == me || self.has_finished(owner) {
                if self.pass(next) {
                    self.missed.fetch_min(next, Ordering::Release);
                }
                continue;
            }
            isa::relax();
            let held_ms = (timer::now_tb() - since_tb) / (timer::ticks_per_us() * 1000);
            assert!(
                held_ms < HOLD_MS,
                "{} was held for {held_ms} ms: step {next} does not come, {:?}",
                percpu::cpu_id(),
                self.steps[next]
            );
        }
    }

    /// Passes step `number` if it is the next. Returns whether we passed it.
    fn pass(&self, number: usize) -> bool {
        // Release: orders what this CPU did before the step. Partner: the acquire in
        // `wait_until_passed`. It fails if another CPU passed the step for its owner.
        self.next.compare_exchange(number, number + 1, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    fn take_step(&self, number: usize, me: CpuId) {
        self.wait_until_passed(number, Some(me));
        self.pass(number);
    }
}

/// Takes this CPU's next [`Step::Mark`].
pub(super) fn mark() {
    let (me, script) = (percpu::cpu_id(), playing().expect("a script"));
    let number = script.find(|step| step == Step::Mark(me)).expect("a mark of this CPU");
    script.take_step(number, me);
}

/// Waits by spinning until a script is played: the thread passes no window meanwhile,
/// unless it is preempted.
pub(super) fn wait_until_played() {
    let mut wait = SpinWait::new("a script to be played");
    while playing().is_none() {
        wait.turn();
    }
}

/// Waits by spinning until `steps` steps are passed.
pub(super) fn wait_until_passed(steps: usize) {
    playing().expect("a script").wait_until_passed(steps, None);
}

/// This CPU has no further part: no CPU waits for its steps.
pub(super) fn finished() {
    if let Some(script) = playing() {
        // Release: orders what we did before the bit. Partner: the acquire in `has_finished`.
        script.finished.publish(percpu::cpu_id());
    }
}

/// This CPU is at `place`.
#[inline]
pub(super) fn reached(place: Place) {
    if let Some(script) = playing() {
        hold(script, place);
    }
}

#[cold]
fn hold(script: &Script, place: Place) {
    let me = percpu::cpu_id();
    let is_point = matches!(place, Place::Protocol(_));
    let any = is_point && irqflags::are_enabled() && !script.has_finished(me);
    let comes = |step| step == Step::Reach(me, place) || any && step == Step::Any(me);
    let Some(number) = script.find(comes) else { return };
    script.take_step(number, me);
    let leaves = |step| step == Step::Leave(me, place);
    if script.steps[number] == Step::Reach(me, place)
        && let Some(number) = script.find(leaves)
    {
        script.take_step(number, me);
    }
}
