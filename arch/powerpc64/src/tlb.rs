//! TLB invalidation: has the sequences of [`crate::encoding::tlb_sequence`] executed.
//!
//! Broadcast ones reach every CPU of the partition: by `tlbie` if the hypervisor granted
//! that to it (GTSE), else by the call H_RPT_INVALIDATE. Local ones reach this hardware
//! thread only. Preemption is off from the decision to the end of the flush.

use crate::encoding::PageSize;
use crate::encoding::rpt_invalidate::{self, Kind, Target};
use crate::encoding::tlb_operand::Ric;
use crate::encoding::tlb_sequence::{self as sequence, Step};
use crate::{hcall, isa};
use core::ops::Range;
use core::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use kcore::mm::Pid;

/// What [`sequence::sets`] says of this processor; the largest number until then.
static SETS: AtomicU16 = AtomicU16::new(sequence::sets(0));

/// May this partition use `tlbie`?
static GTSE: AtomicBool = AtomicBool::new(true);

/// Tells the processor's version. Boot CPU, before others start: they see the relaxed
/// store through being started.
pub fn set_processor(pvr: u32) {
    SETS.store(sequence::sets(pvr), Ordering::Relaxed);
}

/// Tells whether the platform granted `tlbie`, which is assumed until then. Boot CPU, before
/// others start.
pub fn set_gtse(granted: bool) {
    GTSE.store(granted, Ordering::Relaxed);
}

#[inline(always)]
fn run(step: Step) {
    match step {
        Step::Ptesync => isa::ptesync(),
        // SAFETY: inside a sequence, and so the next.
        Step::Tlbiel(operands) => unsafe { isa::tlbiel(operands) },
        // SAFETY: as above.
        Step::Tlbie(operands) => unsafe { isa::tlbie(operands) },
        Step::Eieio => isa::eieio(),
        Step::Tlbsync => isa::tlbsync(),
        Step::InvalidateErat => isa::erat_invalidate(),
        Step::Isync => isa::isync(),
    }
}

/// The call that does what a sequence of `tlbie`s does.
#[cold]
fn call(arguments: [u64; 6]) {
    // Partner: the PTE stores before the flush.
    isa::ptesync();
    let status = hcall::h_rpt_invalidate(arguments);
    // A flush that did not happen is memory corruption later.
    status.ok().unwrap_or_else(|status| panic!("H_RPT_INVALIDATE: {status:?}"));
}

/// The pages of `pid` in `range`, on this CPU.
pub fn flush_range_local(pid: Pid, range: Range<u64>, size: PageSize) {
    sequence::range_local(pid.get(), range, size, run);
}

/// All of `pid`, on this CPU: translations, or with [`Ric::All`] walk cache and
/// process-table entry too.
pub fn flush_pid_local(pid: Pid, ric: Ric) {
    sequence::pid_local(pid.get(), ric, SETS.load(Ordering::Relaxed), run);
}

/// Everything of every PID, the kernel's included, on this CPU.
pub fn flush_all_local() {
    sequence::all_local(SETS.load(Ordering::Relaxed), run);
}

/// The pages of `pid` in `range`, everywhere.
pub fn flush_range_broadcast(pid: Pid, range: Range<u64>, size: PageSize) {
    if !GTSE.load(Ordering::Relaxed) {
        let (start, end) = (range.start, range.end);
        return call(rpt_invalidate::range(pid.get(), Target::Cmmu, Kind::TLB, size.into(), start, end));
    }
    sequence::range_broadcast(pid.get(), range, size, run);
}

/// All of `pid`, everywhere.
pub fn flush_pid_broadcast(pid: Pid, ric: Ric) {
    if !GTSE.load(Ordering::Relaxed) {
        return call(rpt_invalidate::whole_pid(pid.get(), Target::Cmmu, ric.into()));
    }
    sequence::pid_broadcast(pid.get(), ric, run);
}
