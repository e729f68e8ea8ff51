//! Cross-calls: who asked whom for what, and when it was sent, taken and answered.

use std::collections::HashMap;

use trace_format::{Kind, Operation};

use crate::events::{Event, operation};

/// A cross-call's way to one target.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Leg {
    /// The target.
    pub to: usize,
    /// When the IPI was sent. A target whose mailbox has a call already gets none.
    pub sent: Option<u64>,
    /// When the target took it.
    pub taken: Option<u64>,
    /// When the target had done it.
    pub answered: Option<u64>,
}

/// A cross-call.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Call {
    /// The CPU that posted it, and waits.
    pub by: usize,
    /// Its number on this CPU.
    pub number: u32,
    /// The operation, if it is known.
    pub asks: Option<Operation>,
    /// The address space, or 0.
    pub mm: u64,
    /// When it was posted.
    pub posted: Option<u64>,
    /// When all answers were there.
    pub done: Option<u64>,
    /// Its targets, in the order in which they were first named.
    pub legs: Vec<Leg>,
}

impl Call {
    fn leg(&mut self, to: usize) -> &mut Leg {
        let place = self.legs.iter().position(|leg| leg.to == to).unwrap_or_else(|| {
            self.legs.push(Leg { to, ..Leg::default() });
            self.legs.len() - 1
        });
        &mut self.legs[place]
    }
}

#[derive(Default)]
pub(super) struct Reader {
    pub calls: Vec<Call>,
    place: HashMap<(usize, u32), usize>,
}

impl Reader {
    pub fn take(&mut self, event: &Event) {
        let (n, time, body) = (event.cpu, Some(event.record.time), event.record.body);
        let by = match body.kind {
            Kind::Posted | Kind::Sent | Kind::Done => n,
            Kind::Taken | Kind::Answered => body.arg as usize,
            _ => return,
        };
        let place = *self.place.entry((by, body.other)).or_insert_with(|| {
            let (number, asks, mm) = (body.other, operation(&body), body.mm);
            self.calls.push(Call { by, number, asks, mm, posted: None, done: None, legs: Vec::new() });
            self.calls.len() - 1
        });
        let call = &mut self.calls[place];
        match body.kind {
            Kind::Posted => call.posted = time,
            Kind::Done => call.done = time,
            Kind::Sent => call.leg(body.arg as usize).sent = time,
            Kind::Taken => call.leg(n).taken = time,
            _ => call.leg(n).answered = time,
        }
    }
}
