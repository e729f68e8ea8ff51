//! The last reports to the oracle, which name the offender.

use core::fmt;

use kcore::cpu::CpuId;
use kcore::event::Stamp;
use kcore::mm::flush::FlushRange;

use crate::FrameNumber;

/// Events of a PID that are remembered.
const LENGTH: usize = 32;

/// A report to the oracle. The protocol's events name an mm, and stores to trees and to the
/// process table are no such events. A history belongs to one PID, and has both.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs, reason = "named after the functions of `Shadow`")]
pub enum Told {
    Load,
    Leave,
    CoproLoad,
    CoproLeave,
    FlushLocal(FlushRange, Stamp),
    FlushGlobal(FlushRange, Stamp),
    FlushCpu,
    EntrySet,
    EntryCleared,
    /// This address, and perhaps others, until the next flush.
    Changed(u64),
    Detached(FrameNumber),
    Filled(u64),
    FrameFreed(FrameNumber),
    Unlocked,
    /// This CPU.
    Spared(CpuId),
    Returned,
    PidFreed,
}

/// A report, with its moment and its CPU.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Record {
    /// The moment of the report.
    pub at: Stamp,
    /// The CPU that reported.
    pub cpu: CpuId,
    /// The report.
    pub told: Told,
}

/// A ring of the last events.
#[derive(Default)]
pub(super) struct History {
    records: [Option<Record>; LENGTH],
    /// Where the next event goes: the place of the oldest.
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
        match self.told {
            Told::Load => f.write_str("loads the PID"),
            Told::Leave => f.write_str("has loaded another PID"),
            Told::CoproLoad => f.write_str("lets a coprocessor load the PID"),
            Told::CoproLeave => f.write_str("has made a coprocessor leave the PID"),
            Told::FlushLocal(what, began) => flush(f, "tlbiel", what, began),
            Told::FlushGlobal(what, began) => flush(f, "tlbie", what, began),
            Told::FlushCpu => f.write_str("drops everything of every PID"),
            Told::EntrySet => f.write_str("sets the process-table entry"),
            Told::EntryCleared => f.write_str("has cleared the process-table entry"),
            Told::Changed(ea) => write!(f, "has changed entries, that of {ea:#x} first"),
            Told::Detached(table) => write!(f, "has taken table {table:#x} out of the tree"),
            Told::Filled(ea) => write!(f, "fills the entry of {ea:#x}"),
            Told::FrameFreed(frame) => write!(f, "frees frame {frame:#x}"),
            Told::Unlocked => f.write_str("unlocks the address space"),
            Told::Spared(lazy) => write!(f, "spares {lazy}, which is lazy"),
            Told::Returned => f.write_str("is not lazy any more"),
            Told::PidFreed => f.write_str("frees the PID and the root"),
        }
    }
}

/// Writes a flush as words.
fn flush(f: &mut fmt::Formatter<'_>, instruction: &str, what: FlushRange, began: Stamp) -> fmt::Result {
    write!(f, "{instruction} of ")?;
    match what {
        FlushRange::Pages { start, pages } => write!(f, "{pages} pages from {start:#x} (RIC=0)")?,
        FlushRange::Translations => f.write_str("all translations (RIC=0)")?,
        FlushRange::Everything => f.write_str("everything (RIC=2)")?,
    }
    write!(f, ", begun after {began}")
}
