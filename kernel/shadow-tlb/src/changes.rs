//! Changes of the tree: what becomes stale with them, and the checks of whether it is stale.

use alloc::vec::Vec;
use core::ops::Range;

use kcore::cpu::CpuId;
use kcore::event::Stamp;

use crate::flushed::Flushed;
use crate::holding::Holding;
use crate::stale::Stale;
use crate::{FrameNumber, Kind, Shadow, Subject, Told, Violation};

/// A change is forgotten at the flush that reaches its last holder.
const STALE_IS_HELD: &str = "something is stale that nobody holds";

impl Shadow {
    /// The leaf entry of `ea` names `gone` no more, or (none) allows less than it did. Returns
    /// whether a holder may still have it as it was: then `gone` is released later.
    pub fn leaf_changed(&mut self, cpu: CpuId, ea: u64, gone: Option<FrameNumber>) -> bool {
        // One record stands for all until the next flush.
        let known =
            self.stale.iter().any(|stale| stale.kind == Kind::Translation && stale.at > self.flushing);
        self.changed(cpu, Kind::Translation, ea, gone, (!known).then_some(Told::Changed(ea)))
    }

    /// `table`, which serves the addresses from `base` on, was taken out of the tree. Returns
    /// whether a holder may still walk through it: then it is released later.
    pub fn table_detached(&mut self, cpu: CpuId, base: u64, table: FrameNumber) -> bool {
        self.changed(cpu, Kind::Walk, base, Some(table), Some(Told::Detached(table)))
    }

    fn changed(
        &mut self,
        cpu: CpuId,
        kind: Kind,
        ea: u64,
        gone: Option<FrameNumber>,
        told: Option<Told>,
    ) -> bool {
        let at = self.now();
        let held = self.first(|holding| holding.since(kind) < at).is_some();
        if held {
            self.stale.add(kind, ea, gone, at, self.flushing.max(self.loading));
            if let Some(told) = told {
                self.told(cpu, told);
            }
        }
        held
    }

    /// The entry of `ea`, which was empty, names a frame.
    ///
    /// # Errors
    /// A holder may still translate `ea` to the frame before.
    pub fn leaf_filled(&mut self, cpu: CpuId, ea: u64) -> Result<(), Violation> {
        let before = |stale: &Stale| stale.kind == Kind::Translation && stale.span.contains(&ea);
        self.nothing_stale(cpu, Told::Filled(ea), before, |_| Subject::Filled(ea))
    }

    /// The frame, or the table, is about to be reused.
    ///
    /// # Errors
    /// A holder may still translate to it, or walk through it.
    pub fn frame_freed(&mut self, cpu: CpuId, frame: FrameNumber) -> Result<(), Violation> {
        self.nothing_stale(
            cpu,
            Told::FrameFreed(frame),
            |stale| stale.has(frame),
            |stale| match stale.kind {
                Kind::Walk => Subject::Table(frame),
                _ => Subject::Frame(frame),
            },
        )
    }

    /// A flush that began at `since` leaves `spared` out, because it is lazy: it owes that flush.
    /// `cpu` reports it.
    pub fn spared(&mut self, cpu: CpuId, spared: CpuId, since: Stamp) {
        self.told(cpu, Told::Spared(spared));
        let translations = self.stale.iter().filter(|stale| stale.kind == Kind::Translation);
        let holding = &mut self.holdings[spared.index()];
        translations.filter(|stale| stale.at < since).for_each(|stale| holding.spare(stale.at));
        self.release();
    }

    /// `cpu` is not lazy any more.
    ///
    /// # Errors
    /// It owes a flush.
    pub fn laziness_ended(&mut self, cpu: CpuId) -> Result<(), Violation> {
        let holder = cpu.index();
        if !self.holdings[holder].owes() {
            return Ok(());
        }
        let at = self.told(cpu, Told::Returned);
        Err(self.violation(holder, Some(Kind::Translation), at, Subject::Owed))
    }

    /// The addresses of `area` are about to be unlocked.
    ///
    /// # Errors
    /// A holder may still have something that was changed or taken away there.
    pub fn settled(&mut self, cpu: CpuId, area: Range<u64>) -> Result<(), Violation> {
        let inside = |stale: &Stale| stale.span.start < area.end && area.start < stale.span.end;
        self.nothing_stale(cpu, Told::Unlocked, inside, |stale| match stale.kind {
            Kind::Walk => Subject::Table(stale.frames[0]),
            _ => Subject::Changed(stale.span.clone()),
        })
    }

    /// Frames and tables that were reported stale, and that no holder can reach any more: one
    /// for each such report.
    pub fn take_released(&mut self) -> Vec<FrameNumber> {
        core::mem::take(&mut self.released)
    }

    /// `pages` are flushed on the holders `reached`, since `began`.
    pub(super) fn apply_to_pages(&mut self, reached: Range<usize>, pages: &Range<u64>, began: Stamp) {
        self.stale.split_at(pages.start);
        self.stale.split_at(pages.end);
        for holder in reached {
            let mut covered = self.stale.iter().filter(|stale| stale.is_covered(pages, began));
            if covered.any(|stale| holds(&self.holdings, &self.flushed, holder, stale)) {
                self.flushed.add(holder, began, pages.clone());
            }
        }
    }

    /// Forgets what no holder has any more.
    pub(super) fn release(&mut self) {
        let (holdings, flushed) = (&self.holdings, &self.flushed);
        let held = |stale: &Stale| (0..holdings.len()).any(|holder| holds(holdings, flushed, holder, stale));
        self.stale.release(held, &mut self.released);
        self.flushed.forget(&self.stale);
    }

    /// Records `told`, and returns an error if something that is `wrong` is stale.
    fn nothing_stale(
        &mut self,
        cpu: CpuId,
        told: Told,
        wrong: impl Fn(&Stale) -> bool,
        subject: impl Fn(&Stale) -> Subject,
    ) -> Result<(), Violation> {
        let Some(stale) = self.stale.iter().find(|stale| wrong(stale)) else { return Ok(()) };
        let mut holders = 0..self.holdings.len();
        let holder = holders.find(|&holder| holds(&self.holdings, &self.flushed, holder, stale));
        let violation =
            self.violation(holder.expect(STALE_IS_HELD), Some(stale.kind), stale.at, subject(stale));
        self.told(cpu, told);
        Err(violation)
    }
}

/// Whether holder number `holder` may have cached entries as they were, and use them.
fn holds(holdings: &[Holding], flushed: &Flushed, holder: usize, stale: &Stale) -> bool {
    holdings[holder].may_use(stale.kind, stale.at) && !flushed.covers(holder, stale)
}
