//! Changes of the tree: what becomes stale with them, and who asks whether it is.

use alloc::vec::Vec;

use super::stale::Stale;
use super::{Event, FrameNumber, Kind, PAGE_SHIFT, Shadow, Subject, Violation};
use crate::cpu::CpuId;

/// What is not held is forgotten at the flush that reached the last holder.
const STALE_IS_HELD: &str = "something is stale that nobody holds";

impl Shadow {
    /// The leaf entry of `ea` names `gone` no more, or (none) allows less than it did.
    /// Whether somebody may still have it as it was: then `gone` is released later.
    pub fn leaf_changed(&mut self, cpu: CpuId, ea: u64, gone: Option<FrameNumber>) -> bool {
        let at = self.now();
        let held = self.first(|holding| holding.since(Kind::Translation) < at).is_some();
        if held {
            let known = self.leaves.iter().last().is_some_and(|last| last.at > self.flushing);
            if !known {
                self.told(cpu, Event::Changed(ea));
            }
            self.leaves.add(ea..ea + (1 << PAGE_SHIFT), gone, at, self.flushing);
        }
        held
    }

    /// `table` was taken out of the tree. Whether somebody may still walk through it: then
    /// it is released later.
    pub fn table_detached(&mut self, cpu: CpuId, table: FrameNumber) -> bool {
        let at = self.now();
        let held = self.first(|holding| holding.since(Kind::Walk) < at).is_some();
        if held {
            self.told(cpu, Event::Detached(table));
            self.tables.add(0..0, Some(table), at, self.flushing);
        }
        held
    }

    /// The entry of `ea`, which was empty, names a frame.
    ///
    /// # Errors
    /// Somebody may still translate `ea` to the frame before.
    pub fn leaf_filled(&mut self, cpu: CpuId, ea: u64) -> Result<(), Violation> {
        let Some(stale) = self.leaves.iter().find(|stale| stale.span.contains(&ea)) else { return Ok(()) };
        let violation = self.translated(stale, Subject::Filled(ea));
        self.told(cpu, Event::Filled(ea));
        Err(violation)
    }

    /// The frame, or the table, is about to be given to somebody else.
    ///
    /// # Errors
    /// Somebody may still translate to it, or walk through it.
    pub fn frame_freed(&mut self, cpu: CpuId, frame: FrameNumber) -> Result<(), Violation> {
        let leaf = self.leaves.iter().find(|stale| stale.has(frame));
        let table = self.tables.iter().find(|stale| stale.has(frame));
        let violation = match (leaf, table) {
            (Some(stale), _) => self.translated(stale, Subject::Frame(frame)),
            (None, Some(stale)) => self.walked(stale, Subject::Table(frame)),
            (None, None) => return Ok(()),
        };
        self.told(cpu, Event::FrameFreed(frame));
        Err(violation)
    }

    /// The address space is about to be unlocked.
    ///
    /// # Errors
    /// Somebody may still hold something that was changed or taken away.
    pub fn settled(&mut self, cpu: CpuId) -> Result<(), Violation> {
        let leaf = self.leaves.iter().next();
        let violation = match (leaf, self.tables.iter().next()) {
            (Some(stale), _) => self.translated(stale, Subject::Changed(stale.span.clone())),
            (None, Some(stale)) => self.walked(stale, Subject::Table(stale.frames[0])),
            (None, None) => return Ok(()),
        };
        self.told(cpu, Event::Unlocked);
        Err(violation)
    }

    /// Frames and tables that were told to be stale, and that nobody can reach any more:
    /// one for each time that they were.
    pub fn take_released(&mut self) -> Vec<FrameNumber> {
        core::mem::take(&mut self.released)
    }

    /// Forgets what nobody holds any more.
    pub(super) fn release(&mut self) {
        let (holdings, pages) = (&self.holdings, &self.pages);
        let translated = |stale: &Stale| holdings.iter().any(|holding| holding.translates(stale, pages));
        self.leaves.release(translated, &mut self.released);
        let walked = |stale: &Stale| holdings.iter().any(|holding| holding.since(Kind::Walk) < stale.at);
        self.tables.release(walked, &mut self.released);
    }

    /// The violation of somebody who may translate through `stale`.
    fn translated(&self, stale: &Stale, subject: Subject) -> Violation {
        let holder = self.first(|holding| holding.translates(stale, &self.pages));
        self.violation(holder.expect(STALE_IS_HELD), Some(Kind::Translation), stale.at, subject)
    }

    /// The violation of somebody who may walk through `stale`.
    fn walked(&self, stale: &Stale, subject: Subject) -> Violation {
        let holder = self.first(|holding| holding.since(Kind::Walk) < stale.at);
        self.violation(holder.expect(STALE_IS_HELD), Some(Kind::Walk), stale.at, subject)
    }
}
