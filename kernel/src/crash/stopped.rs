//! The other CPUs: a non-maskable interrupt stops them, and each keeps its registers for the
//! reporter. The reporter alone prints, so the parts of a report never mix.
//!
//! ```text
//! reporter                            CPU n, in its NMI handler
//! H_SIGNAL_SYS_RESET(n)         ---->
//!                                     pid, then frame (release)
//! frame (acquire), then pid     <---- parks for ever
//! ```

use core::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

use arch::exceptions::TrapFrame;
use arch::{isa, mmu, percpu, smp, timer};
use kcore::cpu::{CpuId, CpuSet, MAX_CPUS};

use crate::{machine, task};

/// How long the others may take to stop, all together, in milliseconds. Each
/// needs microseconds, but a crowded host may not run it for a while.
const PATIENCE_MS: u64 = 3_000;

/// How long CPUs that were all interrupted together may be apart.
const OUTSIDE_MS: u64 = 200;

/// The state that a stopped CPU leaves for the reporter.
struct Remains {
    /// Its registers, on its NMI stack, which it never leaves; null until it stops.
    frame: AtomicPtr<TrapFrame>,
    /// Its PID register.
    pid: AtomicU32,
}

static REMAINS: [Remains; MAX_CPUS] =
    [const { Remains { frame: AtomicPtr::new(core::ptr::null_mut()), pid: AtomicU32::new(0) } }; MAX_CPUS];

/// On the CPU that is to stop: leaves `frame` for the reporter. The caller does not return from
/// its handler if there is a reporter.
pub(super) fn leave_remains(frame: &mut TrapFrame) {
    let mine = &REMAINS[percpu::cpu_id().index()];
    mine.pid.store(mmu::loaded_pid().get(), Ordering::Relaxed);
    // F48 release: orders the frame's contents and the PID before the pointer. Partner:
    // `remains_of`.
    mine.frame.store(frame, Ordering::Release);
}

/// The registers and the PID register of `cpu`, or none if it has not stopped.
pub(super) fn remains_of(cpu: CpuId) -> Option<(&'static TrapFrame, u32)> {
    let theirs = &REMAINS[cpu.index()];
    // F48 acquire: orders the pointer before the reads of the frame and the PID. Partner:
    // `leave_remains`.
    let frame = theirs.frame.load(Ordering::Acquire);
    // SAFETY: null, or on the NMI stack of a parked CPU, which never leaves that stack.
    let frame = unsafe { frame.as_ref() }?;
    Some((frame, theirs.pid.load(Ordering::Relaxed)))
}

/// Stops `others`, which are online, and waits until they have stopped, but not for ever. Each
/// gets its own interrupt: the hypervisor's broadcast would also reach CPUs that were never
/// started.
pub(super) fn stop(others: &CpuSet) {
    // One that stopped by itself (an NMI came from outside) is left alone.
    let running = || others.iter().filter(|&cpu| remains_of(cpu).is_none());
    for cpu in running() {
        // A refusal shows as a CPU that does not answer.
        let _ = smp::nmi(task::area_of(cpu).server());
    }
    wait(PATIENCE_MS, || running().next().is_none());
}

/// After an interrupt from outside, which all CPUs get: gives the others a moment to stop by
/// themselves.
pub(super) fn wait_for_others() {
    if let Some(others) = others() {
        wait(OUTSIDE_MS, || others.iter().all(|cpu| remains_of(cpu).is_some()));
    }
}

/// The CPUs that run besides this one; none before the protocol is up, when there are no others.
pub(super) fn others() -> Option<CpuSet> {
    machine::lazy_tlb_if_ready().map(|kernel| kernel.online().without(percpu::cpu_id()))
}

/// Waits for `done`, but not for ever.
fn wait(limit_ms: u64, done: impl Fn() -> bool) {
    let deadline_tb = timer::now_tb() + limit_ms * 1000 * timer::ticks_per_us();
    while !done() && timer::now_tb() < deadline_tb {
        isa::relax();
    }
}
