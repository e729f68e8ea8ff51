//! A trace as one list of events by time.

use std::collections::HashMap;
use std::fmt;

use trace_format::{Body, Dump, Group, Kind, Line, Operation, Record, Wrong};

/// A record, its place, and the task that ran there.
#[derive(Clone, Copy, Debug)]
pub struct Event {
    /// The CPU.
    pub cpu: usize,
    /// The record's number on its CPU.
    pub number: u64,
    /// The task that ran when it was recorded, if a switch before tells.
    pub tid: Option<u32>,
    /// Time and event.
    pub record: Record,
}

/// The operation of an event of a cross-call.
pub fn operation(body: &Body) -> Option<Operation> {
    Operation::of(body.sub.into())
}

/// Whether the call follows the event of an eviction or of a shoot, which has its targets.
pub fn follows_a_set(call: &Body) -> bool {
    matches!(operation(call), Some(Operation::Shoot | Operation::Evict | Operation::EvictTrim))
}

/// All events of a machine that are left.
#[derive(Clone, Debug)]
pub struct Trace {
    /// By time. The timebase is one clock for all CPUs of this machine, so this is the order in
    /// which they happened; events of one CPU and one time are in the order of their numbers.
    pub events: Vec<Event>,
    /// How many CPUs the machine has.
    pub cpus: usize,
    /// Timebase ticks per second.
    pub ticks: u64,
    /// The number of the lazy-TLB policy.
    pub policy: u64,
    /// For each CPU, how many records are overwritten.
    pub overrun: Vec<u64>,
    /// The groups that were on at the end, as bits.
    pub groups: u64,
    /// Whether nothing was switched while the machine ran.
    pub from_boot: bool,
    /// The last name of each task.
    pub names: HashMap<u32, String>,
}

impl Trace {
    /// Reads a dump.
    ///
    /// # Errors
    /// The bytes are no dump.
    pub fn read(bytes: &[u8]) -> Result<Trace, Wrong> {
        let dump = Dump::new(bytes)?;
        let of_cpu = |cpu| dump.ring(cpu).map(move |(number, record)| (cpu, number, record));
        let mut trace = Trace {
            events: Vec::new(),
            cpus: dump.cpus(),
            ticks: dump.ticks_per_second(),
            policy: dump.policy(),
            overrun: (0..dump.cpus()).map(|cpu| dump.overrun(cpu)).collect(),
            groups: dump.groups(),
            from_boot: true,
            names: HashMap::new(),
        };
        trace.fill((0..dump.cpus()).flat_map(of_cpu).collect());
        Ok(trace)
    }

    /// Sorts the records, and finds the tasks and their names.
    pub(crate) fn fill(&mut self, mut records: Vec<(usize, u64, Record)>) {
        records.sort_by_key(|(_, _, record)| record.time);
        let mut running: Vec<Option<u32>> = vec![None; self.cpus];
        for (cpu, number, record) in records {
            self.events.push(Event { cpu, number, tid: running[cpu], record });
            let body = record.body;
            match body.kind {
                Kind::Switch => running[cpu] = Some(body.other),
                Kind::Setting => self.from_boot &= body.sub == 1,
                Kind::Name => {
                    let bytes = [body.mm.to_be_bytes(), body.arg.to_be_bytes()].concat();
                    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
                    self.names.insert(body.other, String::from_utf8_lossy(&bytes[..end]).into_owned());
                }
                _ => {}
            }
        }
        if self.groups & Group::Call.bit() != 0 {
            self.count_beyond();
        }
    }

    /// Counts the CPUs beyond the first 64 where the kernel has not: those that the IPIs after an eviction or a
    /// shoot go to, and for a scan also those that get none.
    fn count_beyond(&mut self) {
        // By CPU, from the end: IPIs sent since, and what a scan before has found.
        let mut since = vec![(0, 0); self.cpus];
        for Event { cpu, record: Record { body, .. }, .. } in self.events.iter_mut().rev() {
            let (sent, found) = &mut since[*cpu];
            match body.kind {
                Kind::Sent => *sent += u32::from(body.arg >= 64),
                Kind::Posted if !follows_a_set(body) => *sent = 0,
                Kind::Filtered => *found += u32::from(body.other >= 64),
                Kind::ShotSelf => *found += u32::from(*cpu >= 64),
                Kind::Evict | Kind::Shoot | Kind::Scan => {
                    if body.kind != Kind::Scan {
                        *found = std::mem::take(sent);
                    }
                    if body.other == Body::NOT_COUNTED {
                        body.other = *found;
                    }
                }
                _ => {}
            }
        }
    }

    /// Whether it has everything since boot: all groups are on, and nothing is overwritten.
    pub fn is_complete(&self) -> bool {
        self.from_boot && self.groups == Group::EVERY && self.overrun.iter().all(|&lost| lost == 0)
    }

    /// The event as a line of text.
    pub fn line(&self, event: &Event) -> String {
        let task = event.tid.and_then(|tid| self.names.get(&tid)).map(String::as_str);
        let Event { cpu, tid, record, .. } = *event;
        Line { task, tid, cpu, ticks: self.ticks, record }.to_string()
    }
}

impl fmt::Display for Trace {
    /// One line per event, after what was lost.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "# {} events of {} CPUs", self.events.len(), self.cpus)?;
        for (cpu, lost) in self.overrun.iter().enumerate().filter(|(_, lost)| **lost > 0) {
            writeln!(f, "# CPU {cpu}: {lost} earlier events are overwritten")?;
        }
        self.events.iter().try_for_each(|event| writeln!(f, "{}", self.line(event)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{MM, about};

    #[test]
    fn cpus_beyond_the_first_64_are_counted_by_their_calls() {
        let set = |kind, first: u64| Body { other: Body::NOT_COUNTED, arg: first, ..about(kind, MM) };
        let sent = |sub, to| Body { sub, arg: to, ..about(Kind::Sent, MM) };
        let posted = |sub| Body { sub, ..about(Kind::Posted, MM) };
        let steps = [
            set(Kind::Evict, 2),
            posted(2),
            sent(2, 1),
            sent(2, 64),
            posted(0),
            sent(0, 70),
            set(Kind::Scan, 0),
            about(Kind::ShotSelf, MM),
            Body { other: 65, ..about(Kind::Filtered, MM) },
            set(Kind::Shoot, 0),
            posted(1),
            sent(1, 66),
            sent(1, 67),
            set(Kind::Shoot, 0),
        ];
        let records = |cpu| {
            let record =
                |(n, body): (usize, &Body)| (cpu, n as u64, Record { time: n as u64 + 1, body: *body });
            steps.iter().enumerate().map(record).collect::<Vec<_>>()
        };
        let mut trace = crate::tests::trace(&[]);
        trace.cpus = 72;
        trace.fill([records(3), records(71)].concat());
        let told = |cpu| {
            let is_set =
                |event: &&Event| matches!(event.record.body.kind, Kind::Evict | Kind::Scan | Kind::Shoot);
            let sets = trace.events.iter().filter(is_set).filter(|event| event.cpu == cpu);
            sets.map(|event| event.record.body.cpus()).collect::<Vec<_>>()
        };
        assert_eq!(told(3), [2, 3, 2, 0]);
        assert_eq!(told(71), [2, 4, 2, 0], "it was lazy itself");
    }
}
