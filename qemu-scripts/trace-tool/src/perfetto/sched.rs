//! Switches as Linux's `sched_switch`, for Perfetto's own view of scheduling.

use trace_format::{Kind, LEAVES};

use super::proto::Message;
use crate::events::Trace;

/// Linux's bits for `LEAVES`: asleep, runnable, dead.
const STATES: [u64; LEAVES.len()] = [1, 0, 16];
/// Linux's number for a priority of 0.
const PRIORITY: u64 = 120;

/// A bundle for each CPU.
pub fn bundles(trace: &Trace) -> Vec<Message> {
    let comm = |tid: u32| match trace.names.get(&tid) {
        _ if tid == 0 => "swapper",
        Some(name) => name,
        None => "task",
    };
    let mut bundles: Vec<Message> =
        (0..trace.cpus as u64).map(|cpu| Message::default().number(1, cpu)).collect();
    for event in trace.events.iter().filter(|event| event.record.body.kind == Kind::Switch) {
        // The trace begins while a task runs that no switch has named: it counts as the idle task.
        let (prev, next) = (event.tid.unwrap_or(0), event.record.body.other);
        let state = STATES.get(usize::from(event.record.body.sub >> 2 & 3)).copied().unwrap_or(0);
        let switch = Message::default()
            .text(1, comm(prev))
            .number(2, prev.into())
            .number(3, PRIORITY)
            .number(4, state)
            .text(5, comm(next))
            .number(6, next.into())
            .number(7, PRIORITY);
        let ns = u128::from(event.record.time) * 1_000_000_000 / u128::from(trace.ticks);
        let event_is = Message::default().number(1, ns as u64).number(2, prev.into()).message(4, &switch);
        let bundle = &mut bundles[event.cpu];
        *bundle = std::mem::take(bundle).message(2, &event_is);
    }
    bundles
}
