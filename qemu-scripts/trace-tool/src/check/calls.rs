//! Cross-calls: each is posted, sent, taken, answered and done, in this order and once.

use std::collections::HashSet;

use trace_format::Kind;

use super::{Checker, Step, must};
use crate::events::Event;

/// A cross-call.
pub(super) struct Call {
    posted: u64,
    asks: (u8, u64),
    sent: HashSet<usize>,
    taken: HashSet<usize>,
    answered: HashSet<usize>,
    pub done: bool,
}

impl Checker<'_> {
    pub(super) fn of_call(&mut self, event: &Event) -> Step {
        let (n, body) = (event.cpu, event.record.body);
        let initiator = match body.kind {
            Kind::Taken | Kind::Answered => body.arg as usize,
            _ => n,
        };
        let name = || format!("call {} of CPU {initiator}", body.other);
        let asks = (body.sub, body.mm);
        if body.kind == Kind::Posted {
            if let Some(last) = self.cpus[n].call.and_then(|last| self.calls.get(&(n, last))) {
                must(last.done, "posted before done", || {
                    format!("the call of CPU {n} before it is not done")
                })?;
            }
            self.cpus[n].call = Some(body.other);
            let (sent, taken, answered) = Default::default();
            let call = Call { posted: event.record.time, asks, sent, taken, answered, done: false };
            self.found.calls += 1;
            let twice = self.calls.insert((n, body.other), call).is_some();
            return must(!twice, "posted twice", name);
        }
        let rules = match body.kind {
            Kind::Sent => "sent, not posted",
            Kind::Taken => "taken, not posted",
            Kind::Answered => "answered, not posted",
            _ => "done, not posted",
        };
        let Some(call) = self.calls.get_mut(&(initiator, body.other)) else {
            return must(!self.trace.is_complete(), rules, name);
        };
        let as_posted = body.kind == Kind::Answered || asks == call.asks;
        must(as_posted, "another call", || format!("{} asks for something else", name()))?;
        match body.kind {
            Kind::Sent => _ = call.sent.insert(body.arg as usize),
            Kind::Taken => {
                must(!call.done, "taken after done", name)?;
                must(call.taken.insert(n), "taken twice", name)?;
            }
            Kind::Answered => {
                must(call.taken.contains(&n), "answered, not taken", name)?;
                must(call.answered.insert(n), "answered twice", name)?;
            }
            _ => {
                must(call.taken == call.answered, "done before the answers", name)?;
                let gone =
                    |cpu: &usize| self.cpus.get(*cpu).is_some_and(|cpu| cpu.offline >= Some(call.posted));
                let lost = call.sent.iter().find(|cpu| !call.taken.contains(cpu) && !gone(cpu));
                let overwritten = lost.is_some_and(|&cpu| self.trace.overrun[cpu] > 0);
                must(lost.is_none() || overwritten, "sent, never taken", || {
                    format!("{} to CPU {}", name(), lost.unwrap())
                })?;
                call.done = true;
            }
        }
        Ok(())
    }
}
