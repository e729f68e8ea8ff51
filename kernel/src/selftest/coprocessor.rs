//! A fake coprocessor, which the protocol and the oracle take for a real one.

use arch::encoding::platform_support::Broadcast;
use arch::tlb;
use kcore::mm::MmId;

use super::{Stop, Verdict};
use crate::machine::lazy_tlb;
use crate::oracle;

/// A device that translates through an mm: it holds a reference, and hears only broadcasts.
pub(super) struct FakeCoprocessor(MmId);

impl FakeCoprocessor {
    /// Has a test skipped on a machine without broadcasts: a coprocessor would hear of no flush.
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
