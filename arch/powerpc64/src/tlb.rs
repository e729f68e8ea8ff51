//! TLB invalidation: the instruction sequences (ISA 3.0B, Book III, 5.10).
//!
//! Every one begins with `ptesync`, which orders the PTE stores before the
//! invalidation in the eyes of all table walks, and ends with one, which waits
//! until no access through an old translation is left. Broadcast ones reach every
//! CPU of the partition: by `tlbie` if the hypervisor granted that to it (GTSE),
//! else by the call H_RPT_INVALIDATE. Local ones reach this hardware thread only.
//! Preemption is off from the decision to the end of the flush.

use crate::encoding::PageSize;
use crate::encoding::rpt_invalidate::{self, Kind, Pages, Target};
use crate::encoding::tlb_operand::{Operands, Ric};
use crate::{hcall, isa};
use core::ops::Range;
use core::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use kcore::mm::Pid;

/// Congruence classes that a local flush of more than a page has to visit: 128 on
/// ISA 3.0, 1 from ISA 3.1 on. The larger number is right on both.
static SETS: AtomicU16 = AtomicU16::new(128);

/// May this partition use `tlbie`?
static GTSE: AtomicBool = AtomicBool::new(true);

/// Tells how many sets the TLB has (`BootInfo::tlbiel_sets`). Boot CPU, before
/// others start: they see the relaxed store through being started.
pub fn set_sets(sets: u16) {
    SETS.store(sets, Ordering::Relaxed);
}

/// Tells whether `tlbie` was granted, which is assumed until then. Context as
/// for [`set_sets`].
pub fn set_gtse(granted: bool) {
    GTSE.store(granted, Ordering::Relaxed);
}

fn local(flush: impl FnOnce()) {
    // Partner: the PTE stores before the flush.
    isa::ptesync();
    flush();
    // Completes the tlbiels before anything that follows.
    isa::ptesync();
}

/// `flush` is made of `tlbie`s; `call` are the arguments of the call that does
/// the same.
fn broadcast(flush: impl FnOnce(), call: impl FnOnce() -> [u64; 6]) {
    // Partner: the PTE stores before the flush.
    isa::ptesync();
    if !GTSE.load(Ordering::Relaxed) {
        let status = hcall::h_rpt_invalidate(call());
        // A flush that did not happen is memory corruption later.
        return status.ok().unwrap_or_else(|status| panic!("H_RPT_INVALIDATE: {status:?}"));
    }
    flush();
    // tlbie, then tlbsync: other threads' answers; then ptesync: wait for them.
    isa::eieio();
    isa::tlbsync();
    isa::ptesync();
}

fn kind(ric: Ric) -> Kind {
    match ric {
        Ric::Tlb => Kind::TLB,
        Ric::WalkCache => Kind::PWC,
        Ric::All => Kind::ALL,
    }
}

/// Visits all sets, asking for `ric` on the first only: walk cache and process
/// table cache have no sets.
fn tlbiel_sets(operands: impl Fn(Ric) -> Operands, ric: Ric) {
    let sets = if ric == Ric::WalkCache { 1 } else { SETS.load(Ordering::Relaxed) };
    // SAFETY: inside `local`.
    unsafe { isa::tlbiel(operands(ric)) };
    for set in 1..sets {
        // SAFETY: inside `local`.
        unsafe { isa::tlbiel(operands(Ric::Tlb).in_set(set)) };
    }
}

/// After a local flush of more than pages: the ERAT keeps translations of its own
/// that a `tlbiel` by set does not reach on ISA 3.0.
fn finish_sets() {
    isa::erat_invalidate();
    isa::isync();
}

fn pages(range: Range<u64>, size: PageSize) -> impl Iterator<Item = u64> {
    range.step_by(size.bytes() as usize)
}

/// The pages of `pid` in `range`, on this CPU.
pub fn flush_range_local(pid: Pid, range: Range<u64>, size: PageSize) {
    local(|| {
        for ea in pages(range, size) {
            // SAFETY: inside `local`.
            unsafe { isa::tlbiel(Operands::page(pid.get(), ea, size)) };
        }
    });
}

/// All of `pid`, on this CPU: translations, or with [`Ric::All`] walk cache and
/// process-table entry too.
pub fn flush_pid_local(pid: Pid, ric: Ric) {
    local(|| tlbiel_sets(|ric| Operands::pid(pid.get(), ric), ric));
    finish_sets();
}

/// Everything of every PID, the kernel's included, on this CPU.
pub fn flush_all_local() {
    local(|| tlbiel_sets(Operands::all, Ric::All));
    finish_sets();
}

/// The pages of `pid` in `range`, everywhere.
pub fn flush_range_broadcast(pid: Pid, range: Range<u64>, size: PageSize) {
    let (start, end) = (range.start, range.end);
    let flush = || {
        for ea in pages(range, size) {
            // SAFETY: inside `broadcast`.
            unsafe { isa::tlbie(Operands::page(pid.get(), ea, size)) };
        }
    };
    broadcast(flush, || rpt_invalidate::range(pid.get(), Target::Cmmu, Kind::TLB, size.into(), start, end));
}

/// All of `pid`, everywhere.
pub fn flush_pid_broadcast(pid: Pid, ric: Ric) {
    // SAFETY: inside `broadcast`.
    let flush = || unsafe { isa::tlbie(Operands::pid(pid.get(), ric)) };
    broadcast(flush, || rpt_invalidate::range(pid.get(), Target::Cmmu, kind(ric), Pages::all(), 0, !0));
}
