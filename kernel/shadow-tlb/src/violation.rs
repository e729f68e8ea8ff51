//! What the oracle finds, and the sentence that reports it.

use core::fmt;
use core::ops::Range;

use kcore::event::Stamp;

use crate::{FrameNumber, Holder, Kind};

/// What is reused too soon.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Subject {
    /// A page frame that was mapped.
    Frame(FrameNumber),
    /// A table that was taken out of the tree.
    Table(FrameNumber),
    /// An address whose entry names a frame anew.
    Filled(u64),
    /// Addresses that were unmapped or lost permissions, for the programs that count on it.
    Changed(Range<u64>),
    /// Anything that was changed while a CPU was lazy, which has come back without a flush.
    Owed,
    /// The PID and the root of the tree.
    Pid,
    /// Anything that was freed before: a CPU has started and not flushed its TLB.
    Start,
    /// A free PID, which a CPU has loaded.
    NoMm,
}

/// Something is about to be reused while a holder may still have it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Violation {
    /// What is reused.
    pub subject: Subject,
    /// The first holder that may have it.
    pub holder: Holder,
    /// As which kind of thing the holder may have it. None if the PID is not cached but loaded.
    pub held: Option<Kind>,
    /// Since when the holder may have things of this kind.
    pub since: Stamp,
    /// When it went out of the tree; else the moment of the check.
    pub removed: Stamp,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Holder::Cpu(cpu) => cpu.fmt(f),
            Holder::Coprocessor => f.write_str("a coprocessor"),
        }
    }
}

/// One sentence, without the name of the address space.
impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Violation { subject, holder, held, since, removed } = self;
        match subject {
            Subject::Frame(frame) => write!(f, "frame {frame:#x} is freed")?,
            Subject::Table(table) => write!(f, "page table {table:#x} is freed")?,
            Subject::Filled(ea) => write!(f, "the entry of {ea:#x} names another frame")?,
            Subject::Changed(span) => write!(f, "{:#x}..{:#x} was changed", span.start, span.end)?,
            Subject::Owed => f.write_str("a flush has spared a CPU, which has come back")?,
            Subject::Pid => f.write_str("the PID and its root are freed")?,
            Subject::Start => {
                return write!(f, "{holder} loads the PID with what its TLB held when it started");
            }
            Subject::NoMm => return write!(f, "{holder} loads the PID, which no address space has"),
        }
        let what = match held {
            None => return write!(f, " and {holder} has the PID loaded"),
            Some(Kind::Entry) => "the process-table entry",
            Some(Kind::Walk) => "walk-cache entries",
            Some(Kind::Translation) => "translations",
        };
        write!(f, " and {holder} may hold {what} of before {removed}, not flushed since {since}")
    }
}
