//! A coprocessor that is none: the protocol and the oracle take it for one.

use arch::encoding::platform_support::Broadcast;
use arch::tlb;
use kcore::mm::MmId;

use super::{Stop, Verdict};
use crate::machine::lazy_tlb;
use crate::oracle;

/// What translates through an mm without being a CPU: it holds a reference, and hears
/// only broadcasts.
pub(super) struct FakeCoprocessor(MmId);

impl FakeCoprocessor {
    /// Has a test skipped where there can be none: without broadcasts it hears of no flush.
    pub(super) fn possible() -> Verdict {
        let hears = tlb::broadcast() != Broadcast::Nothing;
        if hears { Ok(()) } else { Err(Stop::Skip("no broadcast would reach a coprocessor")) }
    }

    /// The caller has a reference to `mm`.
    pub(super) fn attach(mm: MmId) -> Self {
        lazy_tlb().mmgrab(mm);
        lazy_tlb().copro_attach(mm);
        oracle::copro_load(mm);
        FakeCoprocessor(mm)
    }

    /// Interrupts on: it may have the last reference.
    pub(super) fn detach(self) {
        oracle::copro_leave(self.0);
        lazy_tlb().copro_detach(self.0);
        lazy_tlb().mmdrop(self.0);
    }
}
