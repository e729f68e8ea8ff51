//! What the oracle was told last, to name the offender with.

use core::fmt;

use kcore::cpu::CpuId;
use kcore::event::Stamp;
use kcore::mm::flush::FlushRange;

use crate::FrameNumber;

/// Events of a PID that are remembered.
const LENGTH: usize = 32;

/// Something that the oracle was told. The protocol's events name an mm, and the stores to
/// trees and to the process table are none of them: a history is one PID's, and has both.
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
    /// And perhaps others, until the next flush.
    Changed(u64),
    Detached(FrameNumber),
    Filled(u64),
    FrameFreed(FrameNumber),
    Unlocked,
    PidFreed,
}

/// What was told: when, and on which CPU.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Record {
    /// When.
    pub at: Stamp,
    /// The CPU that told it.
    pub cpu: CpuId,
    /// What.
    pub told: Told,
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
            Told::PidFreed => f.write_str("frees the PID and the root"),
        }
    }
}

/// How a flush is told.
fn flush(f: &mut fmt::Formatter<'_>, instruction: &str, what: FlushRange, began: Stamp) -> fmt::Result {
    write!(f, "{instruction} of ")?;
    match what {
        FlushRange::Pages { start, pages } => write!(f, "{pages} pages from {start:#x} (RIC=0)")?,
        FlushRange::Translations => f.write_str("all translations (RIC=0)")?,
        FlushRange::Everything => f.write_str("everything (RIC=2)")?,
    }
    write!(f, ", begun after {began}")
}
