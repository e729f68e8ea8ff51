//! The sequences of instructions that invalidate translations (ISA 3.0B, Book III, 5.10),
//! step by step. `tlb.rs` executes the steps. QEMU runs on if a step is missing; the
//! tests here fail.
//!
//! Every sequence begins with `ptesync`, which orders the PTE stores before the
//! invalidation in the eyes of all table walks. A `ptesync` after the last invalidation
//! waits until no access through an old translation is left.

use super::PageSize;
use super::platform_support::Broadcast;
use super::rpt_invalidate::{self, Arguments};
use super::tlb_operand::{Operands, Ric};
use core::ops::Range;

/// One instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// `ptesync`.
    Ptesync,
    /// `tlbiel`, on this hardware thread.
    Tlbiel(Operands),
    /// `tlbie`, on all CPUs of the partition.
    Tlbie(Operands),
    /// `eieio`: orders `tlbie` before `tlbsync`.
    Eieio,
    /// `tlbsync`: asks for the other threads' answers to `tlbie`.
    Tlbsync,
    /// `slbia 7`.
    InvalidateErat,
    /// `isync`.
    Isync,
    /// The hypercall H_RPT_INVALIDATE, which returns when everything is gone everywhere.
    Call(Arguments),
}

/// Congruence classes that a local flush of more than a page has to visit on the
/// processor of this version: 128 on ISA 3.0, 1 from ISA 3.1 on. The larger number is
/// right on both, so an unknown processor gets it.
#[must_use]
pub const fn sets(pvr: u32) -> u16 {
    const POWER10: u32 = 0x0080;
    const POWER11: u32 = 0x0082;
    if matches!(pvr >> 16, POWER10 | POWER11) { 1 } else { 128 }
}

/// The pages of `pid` in `range`, on this CPU.
#[inline]
pub fn range_local(pid: u32, range: Range<u64>, size: PageSize, run: impl Fn(Step)) {
    run(Step::Ptesync);
    pages(range, size).for_each(|ea| run(Step::Tlbiel(Operands::page(pid, ea, size))));
    run(Step::Ptesync);
}

/// All of `pid`, on this CPU.
#[inline]
pub fn pid_local(pid: u32, ric: Ric, sets: u16, run: impl Fn(Step)) {
    whole_local(|ric| Operands::pid(pid, ric), ric, sets, run);
}

/// Everything of every PID, on this CPU.
#[inline]
pub fn all_local(sets: u16, run: impl Fn(Step)) {
    whole_local(Operands::all, Ric::All, sets, run);
}

/// Visits all sets. Only the first asks for `ric`: the walk cache and the process-table
/// cache have no sets. The ERAT follows: it keeps translations of its own, which a
/// `tlbiel` by set does not reach on ISA 3.0.
#[inline]
fn whole_local(operands: impl Fn(Ric) -> Operands, ric: Ric, sets: u16, run: impl Fn(Step)) {
    run(Step::Ptesync);
    run(Step::Tlbiel(operands(ric)));
    (1..sets).for_each(|set| run(Step::Tlbiel(operands(Ric::Tlb).in_set(set))));
    run(Step::Ptesync);
    run(Step::InvalidateErat);
    run(Step::Isync);
}

/// The pages of `pid` in `range`, everywhere.
#[inline]
pub fn range_broadcast(by: Broadcast, pid: u32, range: Range<u64>, size: PageSize, run: impl Fn(Step)) {
    let call = || rpt_invalidate::range(pid, range.clone(), size);
    broadcast(by, pages(range.clone(), size).map(|ea| Operands::page(pid, ea, size)), call, run);
}

/// All of `pid`, everywhere.
#[inline]
pub fn pid_broadcast(by: Broadcast, pid: u32, ric: Ric, run: impl Fn(Step)) {
    broadcast(by, core::iter::once(Operands::pid(pid, ric)), || rpt_invalidate::pid(pid, ric), run);
}

/// The `tlbie`s, and the wait for the other threads; or the call that does that.
#[inline]
fn broadcast(
    by: Broadcast,
    tlbies: impl Iterator<Item = Operands>,
    call: impl FnOnce() -> Arguments,
    run: impl Fn(Step),
) {
    run(Step::Ptesync);
    match by {
        Broadcast::Tlbie => {
            tlbies.for_each(|operands| run(Step::Tlbie(operands)));
            run(Step::Eieio);
            run(Step::Tlbsync);
            run(Step::Ptesync);
        }
        Broadcast::Hypercall => run(Step::Call(call())),
        Broadcast::Nothing => panic!("a broadcast flush on a partition without tlbie and H_RPT_INVALIDATE"),
    }
}

fn pages(range: Range<u64>, size: PageSize) -> impl Iterator<Item = u64> {
    range.step_by(size.bytes() as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::cell::RefCell;
    use std::vec::Vec;

    fn record(sequence: impl FnOnce(&dyn Fn(Step))) -> Vec<Step> {
        let steps = RefCell::new(Vec::new());
        sequence(&|step| steps.borrow_mut().push(step));
        steps.into_inner()
    }

    #[test]
    fn pages_of_a_range() {
        use Step::{Eieio, Ptesync, Tlbie, Tlbiel, Tlbsync};
        let page = |ea| Operands::page(7, ea, PageSize::Size64K);
        let local = record(|run| range_local(7, 0x1_0000..0x3_0000, PageSize::Size64K, run));
        assert_eq!(local, [Ptesync, Tlbiel(page(0x1_0000)), Tlbiel(page(0x2_0000)), Ptesync]);
        let everywhere =
            record(|run| range_broadcast(Broadcast::Tlbie, 7, 0x1_0000..0x3_0000, PageSize::Size64K, run));
        let pages = [Tlbie(page(0x1_0000)), Tlbie(page(0x2_0000))];
        assert_eq!(everywhere, [Ptesync, pages[0], pages[1], Eieio, Tlbsync, Ptesync]);
        let small = record(|run| range_local(7, 0..0x3000, PageSize::Size4K, run));
        assert_eq!(small.len(), 2 + 3);
    }

    #[test]
    fn a_process_everywhere_takes_one_instruction() {
        use Step::{Eieio, Ptesync, Tlbie, Tlbsync};
        for ric in [Ric::Tlb, Ric::All] {
            let steps = record(|run| pid_broadcast(Broadcast::Tlbie, 9, ric, run));
            assert_eq!(steps, [Ptesync, Tlbie(Operands::pid(9, ric)), Eieio, Tlbsync, Ptesync]);
        }
    }

    #[test]
    fn everywhere_without_tlbie_is_a_call() {
        use Step::{Call, Ptesync};
        let range = 0x1_0000..0x3_0000;
        let pages =
            record(|run| range_broadcast(Broadcast::Hypercall, 7, range.clone(), PageSize::Size64K, run));
        assert_eq!(pages, [Ptesync, Call(rpt_invalidate::range(7, range.clone(), PageSize::Size64K))]);
        for ric in [Ric::Tlb, Ric::All] {
            let steps = record(|run| pid_broadcast(Broadcast::Hypercall, 9, ric, run));
            assert_eq!(steps, [Ptesync, Call(rpt_invalidate::pid(9, ric))]);
        }
    }

    #[test]
    #[should_panic(expected = "without tlbie and H_RPT_INVALIDATE")]
    fn everywhere_by_nothing_is_an_error() {
        record(|run| pid_broadcast(Broadcast::Nothing, 9, Ric::All, run));
    }

    /// Each set once, the other caches once, `ptesync` before and after, then the ERAT.
    fn check_sets(steps: &[Step], scope: u64, rs: u64, ric: Ric, sets: u16) {
        let (first, rest) = steps.split_first().unwrap();
        let (sweep, end) = rest.split_at(usize::from(sets));
        assert_eq!(*first, Step::Ptesync);
        assert_eq!(end, [Step::Ptesync, Step::InvalidateErat, Step::Isync]);
        for (set, step) in sweep.iter().enumerate() {
            let Step::Tlbiel(operands) = step else { panic!("{step:?} in set {set}") };
            // RB: the set in bits 40 to 51, IS in 52 and 53.
            assert_eq!(operands.rb(), (set as u64) << 12 | scope << 10);
            assert_eq!(operands.rs(), rs);
            assert_eq!(operands.ric(), if set == 0 { ric } else { Ric::Tlb });
        }
    }

    #[test]
    fn a_process_here_takes_all_sets() {
        for sets in [1, 128] {
            check_sets(&record(|run| pid_local(9, Ric::Tlb, sets, run)), 1, 9 << 32, Ric::Tlb, sets);
            check_sets(&record(|run| pid_local(9, Ric::All, sets, run)), 1, 9 << 32, Ric::All, sets);
            check_sets(&record(|run| all_local(sets, run)), 3, 0, Ric::All, sets);
        }
    }

    #[test]
    fn sets_of_processors() {
        let power9 = [0x004e_1200, 0x004e_1202, 0x004e_0200];
        assert!(power9.iter().all(|&pvr| sets(pvr) == 128));
        assert_eq!([0x0080_0200, 0x0080_1200, 0x0082_0100].map(sets), [1; 3]);
        assert_eq!(sets(0x00ff_0000), 128);
    }
}
