//! What the oracle was told last, to name the offender with.

use core::fmt;

use super::FrameNumber;
use crate::cpu::CpuId;
use crate::machine::Stamp;
use crate::mm::flush::FlushRange;

/// Events of a PID that are remembered.
const LENGTH: usize = 32;

/// Something that the oracle was told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs, reason = "named after the functions of `Shadow`")]
pub enum Event {
    Load,
    Leave,
    CoproLoad,
    CoproLeave,
    FlushLocal(FlushRange, Stamp),
    FlushGlobal(FlushRange, Stamp),
    FlushCpu,
    EntrySet,
    EntryCleared,
    /// And perhaps others, until the next flush.
    Changed(u64),
    Detached(FrameNumber),
    Filled(u64),
    FrameFreed(FrameNumber),
    Unlocked,
    PidFreed,
}

/// An event: when, and on which CPU.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Record {
    /// When.
    pub at: Stamp,
    /// The CPU that told it.
    pub cpu: CpuId,
    /// What.
    pub event: Event,
}

/// A ring of the last events.
#[derive(Default)]
pub(super) struct History {
    records: [Option<Record>; LENGTH],
    /// Where the next one goes: the oldest.
    next: usize,
}

impl History {
    pub(super) fn push(&mut self, record: Record) {
        self.records[self.next] = Some(record);
        self.next = (self.next + 1) % LENGTH;
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Record> {
        let (newer, older) = self.records.split_at(self.next);
        older.iter().chain(newer).flatten()
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: ", self.at, self.cpu)?;
        match self.event {
            Event::Load => f.write_str("loads the PID"),
            Event::Leave => f.write_str("has loaded another PID"),
            Event::CoproLoad => f.write_str("lets a coprocessor load the PID"),
            Event::CoproLeave => f.write_str("has made a coprocessor leave the PID"),
            Event::FlushLocal(what, began) => write!(f, "tlbiel of {what}, begun after {began}"),
            Event::FlushGlobal(what, began) => write!(f, "tlbie of {what}, begun after {began}"),
            Event::FlushCpu => f.write_str("drops everything of every PID"),
            Event::EntrySet => f.write_str("sets the process-table entry"),
            Event::EntryCleared => f.write_str("has cleared the process-table entry"),
            Event::Changed(ea) => write!(f, "has changed entries, that of {ea:#x} first"),
            Event::Detached(table) => write!(f, "has taken table {table:#x} out of the tree"),
            Event::Filled(ea) => write!(f, "fills the entry of {ea:#x}"),
            Event::FrameFreed(frame) => write!(f, "frees frame {frame:#x}"),
            Event::Unlocked => f.write_str("unlocks the address space"),
            Event::PidFreed => f.write_str("frees the PID and the root"),
        }
    }
}

impl fmt::Display for FlushRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FlushRange::Pages { start, pages } => write!(f, "{pages} pages from {start:#x} (RIC=0)"),
            FlushRange::Translations => f.write_str("all translations (RIC=0)"),
            FlushRange::Everything => f.write_str("everything (RIC=2)"),
        }
    }
}
