//! TLB invalidation: executes the sequences of [`crate::encoding::tlb_sequence`].
//!
//! A broadcast reaches every CPU of the partition: by `tlbie` if the platform granted that
//! (GTSE), else by the call H_RPT_INVALIDATE if the hypervisor has it. A partition with neither
//! has no broadcast. A local sequence reaches this hardware thread only. Preemption is off from
//! the decision to the end of the flush.

use crate::encoding::PageSize;
use crate::encoding::platform_support::Broadcast;
use crate::encoding::rpt_invalidate::Arguments;
use crate::encoding::tlb_operand::Ric;
use crate::encoding::tlb_sequence::{self as sequence, Step};
use crate::{hcall, isa};
use core::ops::Range;
use core::sync::atomic::{AtomicU8, AtomicU16, Ordering};
use kcore::mm::Pid;

/// What [`sequence::sets`] says of this processor; the largest number until then.
static SETS: AtomicU16 = AtomicU16::new(sequence::sets(0));

/// A [`Broadcast`].
static BROADCAST: AtomicU8 = AtomicU8::new(Broadcast::Nothing as u8);

/// Sets the processor's version, and the means by which this partition broadcasts. Called on
/// the boot CPU, before the first flush and before other CPUs start. Starting a CPU orders
/// these relaxed stores before all that it does.
pub fn init(pvr: u32, broadcast: Broadcast) {
    SETS.store(sequence::sets(pvr), Ordering::Relaxed);
    BROADCAST.store(broadcast as u8, Ordering::Relaxed);
}

/// The means by which this partition broadcasts.
#[inline(always)]
#[must_use]
pub fn broadcast() -> Broadcast {
    const TLBIE: u8 = Broadcast::Tlbie as u8;
    const HYPERCALL: u8 = Broadcast::Hypercall as u8;
    match BROADCAST.load(Ordering::Relaxed) {
        TLBIE => Broadcast::Tlbie,
        HYPERCALL => Broadcast::Hypercall,
        _ => Broadcast::Nothing,
    }
}

#[inline(always)]
fn run(step: Step) {
    match step {
        Step::Ptesync => isa::ptesync(),
        // SAFETY: inside a sequence; so is the next.
        Step::Tlbiel(operands) => unsafe { isa::tlbiel(operands) },
        // SAFETY: inside a sequence, which has `tlbie` only if it was granted.
        Step::Tlbie(operands) => unsafe { isa::tlbie(operands) },
        Step::Eieio => isa::eieio(),
        Step::Tlbsync => isa::tlbsync(),
        Step::InvalidateErat => isa::erat_invalidate(),
        Step::Isync => isa::isync(),
        Step::Call(arguments) => call(&arguments),
    }
}

/// H_RPT_INVALIDATE. A flush that did not happen would be memory corruption later: panics.
#[cold]
fn call(arguments: &Arguments) {
    let status = hcall::h_rpt_invalidate(arguments);
    status.ok().unwrap_or_else(|status| panic!("H_RPT_INVALIDATE: {status:?}"));
}

/// The pages of `pid` in `range`, on this CPU.
pub fn flush_range_local(pid: Pid, range: Range<u64>, size: PageSize) {
    sequence::range_local(pid.get(), range, size, run);
}

/// All of `pid`, on this CPU: translations, or with [`Ric::All`] walk cache and
/// process-table entry too.
// Not inlined: registers of a caller would be moved in each turn of its loop.
#[inline(never)]
pub fn flush_pid_local(pid: Pid, ric: Ric) {
    sequence::pid_local(pid.get(), ric, SETS.load(Ordering::Relaxed), run);
}

/// Everything of every PID, the kernel's included, on this CPU.
pub fn flush_all_local() {
    sequence::all_local(SETS.load(Ordering::Relaxed), run);
}

/// The pages of `pid` in `range`, everywhere; there has to be a [`broadcast`].
// Not inlined: its sequence stays in one piece.
#[inline(never)]
pub fn flush_range_broadcast(pid: Pid, range: Range<u64>, size: PageSize) {
    sequence::range_broadcast(broadcast(), pid.get(), range, size, run);
}

/// All of `pid`, everywhere; there has to be a [`broadcast`].
pub fn flush_pid_broadcast(pid: Pid, ric: Ric) {
    sequence::pid_broadcast(broadcast(), pid.get(), ric, run);
}
