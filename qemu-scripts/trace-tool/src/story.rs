//! What the events tell together: who ran where, what was loaded and borrowed from when to when, which
//! call reached whom, how each address space lived.
//!
//! Times are ticks of the timebase. What began before the trace, or had not ended with it, has None there.

mod calls;
mod cpus;
mod holds;
mod lives;

pub use calls::{Call, Leg};
pub use cpus::{Gone, Moved, Ran, Stretch, Use};
pub use holds::Hold;
pub use lives::{Life, Stage, Stamp};

use crate::events::Trace;

/// The stretches of a trace.
#[derive(Default, Debug)]
pub struct Story {
    /// Tasks, in the order in which they began to run.
    pub ran: Vec<Ran>,
    /// What was loaded, in the order in which it began.
    pub stretches: Vec<Stretch>,
    /// Tasks that own an address space.
    pub uses: Vec<Use>,
    /// References that are held besides, in the order in which they were taken.
    pub holds: Vec<Hold>,
    /// Cross-calls, in the order in which they were posted or first seen.
    pub calls: Vec<Call>,
    /// Address spaces, in the order of their first event.
    pub lives: Vec<Life>,
    /// The time of the first event, and of the last.
    pub span: (u64, u64),
}

impl Story {
    /// Reads it out of the events.
    pub fn of(trace: &Trace) -> Story {
        let mut cpus = cpus::Reader::new(trace.cpus);
        let (mut holds, mut calls, mut lives): (holds::Reader, calls::Reader, lives::Reader) =
            Default::default();
        for event in &trace.events {
            cpus.take(event);
            holds.take(event);
            calls.take(event);
            lives.take(event);
        }
        let time = |event: Option<&crate::events::Event>| event.map_or(0, |event| event.record.time);
        Story {
            ran: cpus.ran,
            stretches: cpus.stretches,
            uses: cpus.uses,
            holds: holds.holds,
            calls: calls.calls,
            lives: lives.lives,
            span: (time(trace.events.first()), time(trace.events.last())),
        }
    }

    /// The life of an address space of which the trace has an event.
    pub fn life(&self, mm: u64) -> Option<&Life> {
        self.lives.iter().find(|life| life.mm == mm)
    }

    /// The borrows of an address space, by their beginning.
    pub fn borrows(&self, mm: u64) -> impl Iterator<Item = &Stretch> {
        self.stretches.iter().filter(move |stretch| stretch.lazy && stretch.mm == mm)
    }
}
