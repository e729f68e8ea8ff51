//! What is recorded: switched on and off, on all CPUs, while they run.

use alloc::string::String;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

use arch::percpu;
use kcore::machine::Cpu as _;
use trace_format::{Body, Group, Kind};

use super::rings::{self, OutOfMemory};
use super::write;
use crate::machine::{self, lazy_tlb};
use crate::sync::{SpinGuard, SpinLock};
use crate::upcalls;

/// A ring's size in KiB, unless `trace_kb=` says otherwise.
const RING_KB: usize = 256;
/// The group of what only more than 64 CPUs need, on with any other. No [`Group`] has its number.
pub(super) const WIDE: u8 = 63;
/// The groups that are to be on, for CPUs that start.
static WANTED: AtomicU64 = AtomicU64::new(0);
/// Held while the rings are made, and while what is on changes.
static SWITCH: SpinLock<()> = SpinLock::new("the switch of the trace", ());

/// What the command line asks for: which groups, and the size of a ring in KiB.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Wanted {
    pub(crate) groups: u64,
    pub(crate) kb: Option<usize>,
}

/// Does what the command line asks for. Once, before the boot CPU joins the protocol.
pub(crate) fn init(wanted: Wanted) {
    if wanted.groups == 0 && wanted.kb.is_none() {
        return;
    }
    match rings::make(&SWITCH.lock(), wanted.kb.unwrap_or(RING_KB)) {
        Ok(()) => {
            patch(wanted.groups);
            want(wanted.groups);
        }
        Err(OutOfMemory) => crate::println!("trace: there is no memory for it"),
    }
}

/// Makes branches of the places of `groups`, and nops of all others.
fn patch(groups: u64) {
    let wide = groups != 0 && lazy_tlb().nr_cpus() > 64;
    arch::patch::set(groups | u64::from(wide) << WIDE);
}

/// Notes which groups are to be on.
fn want(groups: u64) {
    WANTED.store(groups, Ordering::Relaxed);
    if let Some(header) = rings::header() {
        header.groups.store(groups, Ordering::Relaxed);
    }
}

/// The groups that are on, as bits.
pub(crate) fn groups() -> u64 {
    WANTED.load(Ordering::Relaxed)
}

/// Switches `groups` on and all others off, on every CPU. A CPU that is starting meanwhile may keep
/// what was on before. Interrupts and preemption on.
pub(crate) fn set(groups: u64) -> Result<(), OutOfMemory> {
    let held = SWITCH.lock();
    if groups != 0 {
        rings::make(&held, RING_KB)?;
    }
    switch_to(&held, groups);
    Ok(())
}

/// [`set`], once there are rings.
fn switch_to(_: &SpinGuard<'_, ()>, groups: u64) {
    // A CPU has a ring only while all events of its groups lead to their records.
    if self::groups() != 0 {
        tell(0);
    }
    patch(groups);
    if groups != 0 {
        tell(groups);
    }
}

/// Has each CPU begin to record `groups`, or end it.
fn tell(groups: u64) {
    want(groups);
    lazy_tlb().machine.with_preempt_off(|t| {
        let others = lazy_tlb().online().without(t.cpu());
        machine::call_function(t, &others, |_| take_setting(), 0);
        take_setting();
    });
}

/// This CPU records from now on what it is to record. Also where a CPU starts.
pub(crate) fn take_setting() {
    lazy_tlb().machine.with_irqs_off(|t| {
        let (Some(rings), groups, area) = (rings::all(), groups(), percpu::this()) else { return };
        if area.has_ring() == (groups != 0) {
            return;
        }
        // A reader must know what it misses, so this is recorded in any case.
        let starts = lazy_tlb().cpu(t.cpu()).active_mm.peek().is_none();
        let setting = Body { sub: starts.into(), arg: groups, ..Body::new(Kind::Setting) };
        let calls = upcalls::system_calls(groups & Group::Syscall.bit() != 0);
        if groups != 0 {
            area.set_ring(Some(&rings[t.cpu().index()].head), calls);
            write(setting);
        } else {
            write(setting);
            area.set_ring(None, calls);
        }
    });
}

/// Runs `f` while no CPU records anything. Interrupts and preemption on.
pub(super) fn stopped<R>(f: impl FnOnce() -> R) -> R {
    let (held, on) = (SWITCH.lock(), groups());
    // The calls order the records of the other CPUs before what `f` reads.
    switch_to(&held, 0);
    let result = f();
    switch_to(&held, on);
    result
}

/// The names of `groups`, as the switches take them.
pub(crate) fn names(groups: u64) -> String {
    let on = Group::ALL.iter().filter(|group| groups & group.bit() != 0);
    on.map(|group| group.name()).collect::<Vec<_>>().join(",")
}
