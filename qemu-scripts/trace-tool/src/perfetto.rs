//! The trace for ui.perfetto.dev and its trace processor.
//!
//! Field numbers are those of perfetto/trace/*.proto. Times are nanoseconds. Every track is described before
//! the first event. Each CPU has a track for the task, for what is loaded, and for calls; each address space
//! one for its life; then counters; and the switches once more as Linux's `sched_switch`.

mod proto;
mod sched;

use std::collections::{BTreeMap, HashSet};

use trace_format::{Kind, Mm, Operation};

use crate::events::{Event, Trace, operation};
use crate::story::{Stage, Story};
use proto::Message;

/// `TrackEvent.type`.
const BEGIN: u64 = 1;
const END: u64 = 2;
const INSTANT: u64 = 3;
const COUNTER: u64 = 4;

/// A track: its kind and a number among those of its kind.
type Track = (u64, u64);
const CPU: u64 = 1;
const TASK: u64 = 2;
const LOADED: u64 = 3;
const CALL: u64 = 4;
const LIVES: u64 = 5;
const LIFE: u64 = 6;
const COUNTERS: u64 = 7;
const COUNT: u64 = 8;
const CPUS: u64 = 9;
/// Numbers of counters; those of IPIs follow, by their operation.
const BORROWERS: u64 = 0;
const ZOMBIES: u64 = 1;
const IPIS: u64 = 2;

struct Writer<'a> {
    trace: &'a Trace,
    descriptors: Message,
    described: HashSet<Track>,
    events: Vec<(u64, Message)>,
}

/// The whole file.
pub fn encode(trace: &Trace, story: &Story) -> Vec<u8> {
    let (descriptors, described, events) = Default::default();
    let mut writer = Writer { trace, descriptors, described, events };
    // Perfetto sorts what has no parent by its name, which puts CPU 10 before CPU 2.
    writer.describe((CPUS, 0), None, "CPUs");
    for cpu in 0..trace.cpus as u64 {
        writer.describe((CPU, cpu), Some((CPUS, 0)), &format!("CPU {cpu}"));
        for (kind, name) in [(TASK, "task"), (LOADED, "address space"), (CALL, "calls")] {
            writer.describe((kind, cpu), Some((CPU, cpu)), name);
        }
    }
    writer.stretches(story);
    writer.lives(story);
    writer.calls();
    writer.counters(story);
    writer.events.sort_by_key(|(time, _)| *time);
    let mut file = writer.descriptors;
    for (time, event) in &writer.events {
        file = file.message(1, &packet().number(8, *time).message(11, event));
    }
    sched::bundles(trace)
        .iter()
        .fold(file, |file, bundle| file.message(1, &packet().message(1, bundle)))
        .bytes()
}

/// A packet of the one sequence that there is.
fn packet() -> Message {
    Message::default().number(10, 1)
}

/// A track's number in the file.
fn uuid((kind, number): Track) -> u64 {
    kind << 32 | number
}

fn event(track: Track, what: u64) -> Message {
    Message::default().number(9, what).number(11, uuid(track))
}

impl Writer<'_> {
    fn ns(&self, ticks: u64) -> u64 {
        (u128::from(ticks) * 1_000_000_000 / u128::from(self.trace.ticks)) as u64
    }

    fn describe(&mut self, track: Track, parent: Option<Track>, name: &str) {
        if !self.described.insert(track) {
            return;
        }
        // Children stand in the order of their numbers: explicit (3), by rank.
        let mut track_is = Message::default().number(1, uuid(track)).text(2, name).number(11, 3);
        track_is = track_is.number(12, track.0 << 12 | track.1);
        if let Some(parent) = parent {
            track_is = track_is.number(5, uuid(parent));
        }
        if track.0 == COUNT {
            track_is = track_is.message(8, &Message::default().number(3, 2));
        }
        let all = std::mem::take(&mut self.descriptors);
        self.descriptors = all.message(1, &packet().message(60, &track_is));
    }

    fn add(&mut self, time: u64, event: Message) {
        self.events.push((self.ns(time), event));
    }

    /// A slice; `mm` gives it its colour. Without an end it is open.
    fn slice(&mut self, track: Track, (from, to): (u64, Option<u64>), name: &str, mm: u64) {
        self.add(from, event(track, BEGIN).text(23, name).number(52, mm));
        if let Some(to) = to {
            self.add(to, event(track, END));
        }
    }

    fn stretches(&mut self, story: &Story) {
        for ran in &story.ran {
            let name = self.trace.task(ran.tid);
            self.slice((TASK, ran.cpu as u64), (ran.from, ran.to), &name, u64::from(ran.tid));
        }
        for stretch in &story.stretches {
            let name = format!("{}{}", Mm(stretch.mm), if stretch.lazy { " lazy" } else { "" });
            self.slice((LOADED, stretch.cpu as u64), (stretch.from, stretch.to), &name, stretch.mm);
        }
    }

    fn lives(&mut self, story: &Story) {
        self.describe((LIVES, 0), None, "address spaces");
        for (number, life) in story.lives.iter().enumerate() {
            let (track, name) = ((LIFE, number as u64), Mm(life.mm).to_string());
            self.describe(track, Some((LIVES, 0)), &name);
            let ends =
                [Stage::Created, Stage::Zombie, Stage::Dying, Stage::Freed].map(|stage| life.at(stage));
            for (state, pair) in ["live", "zombie", "dying"].iter().zip(ends.windows(2)) {
                if let Some(from) = pair[0] {
                    self.slice(track, (from, pair[1]), &format!("{name} {state}"), life.mm);
                }
            }
            if let Some(freed) = life.at(Stage::Freed) {
                self.add(freed, event(track, INSTANT).text(23, &format!("{name} freed")));
            }
        }
    }

    /// On the track of who waits: the call, and in it each IPI and each answer. On that of a target: what it does.
    /// In the order of the events, so that slices of no length nest.
    fn calls(&mut self) {
        let mut open = HashSet::new();
        for Event { cpu, record, .. } in &self.trace.events {
            let (body, here) = (record.body, (CALL, *cpu as u64));
            let (by, target) = match body.kind {
                Kind::Posted | Kind::Sent | Kind::Done => (*cpu, body.arg as usize),
                Kind::Taken | Kind::Answered => (body.arg as usize, *cpu),
                _ => continue,
            };
            let flow = (by as u64) << 48 | (target as u64) << 32 | u64::from(body.other);
            let asks = format!("{} {}", operation(&body).map_or("call", Operation::name), Mm(body.mm));
            let (slice, call) = (event(here, BEGIN).number(52, body.mm), (*cpu, by, body.other));
            match body.kind {
                Kind::Posted => self.add(record.time, slice.text(23, &asks)),
                Kind::Taken => {
                    self.add(record.time, slice.text(23, &format!("{asks} for CPU {by}")).fixed(47, flow))
                }
                Kind::Sent => {
                    let ipi = event(here, INSTANT).text(23, &format!("IPI to CPU {target}"));
                    self.add(record.time, ipi.fixed(47, flow));
                }
                _ if open.remove(&call) => self.add(record.time, event(here, END)),
                _ => {}
            }
            if body.kind == Kind::Answered {
                let answer = event((CALL, by as u64), INSTANT).text(23, &format!("CPU {cpu} answers"));
                self.add(record.time, answer.fixed(48, flow));
            }
            if matches!(body.kind, Kind::Posted | Kind::Taken) {
                open.insert(call);
            }
        }
    }

    fn counters(&mut self, story: &Story) {
        let mut steps: BTreeMap<(u64, u64), i64> = BTreeMap::new();
        let mut step = |counter, time, by| *steps.entry((counter, time)).or_default() += by;
        for stretch in story.stretches.iter().filter(|stretch| stretch.lazy) {
            step(BORROWERS, stretch.from, 1);
            stretch.to.into_iter().for_each(|to| step(BORROWERS, to, -1));
        }
        for life in story.lives.iter().filter(|life| life.at(Stage::Zombie).is_some()) {
            life.at(Stage::Zombie).into_iter().for_each(|at| step(ZOMBIES, at, 1));
            life.at(Stage::Freed).into_iter().for_each(|at| step(ZOMBIES, at, -1));
        }
        for Event { record, .. } in &self.trace.events {
            match record.body.kind {
                Kind::Sent => step(IPIS + u64::from(record.body.sub), record.time, 1),
                Kind::Resched => step(IPIS + Operation::ALL.len() as u64, record.time, 1),
                _ => {}
            }
        }
        // Each counter stands from the first event to the last, so Perfetto's trace is no shorter than ours.
        let known: HashSet<u64> = steps.keys().map(|step| step.0).collect();
        for (counter, at) in
            known.iter().flat_map(|&counter| [story.span.0, story.span.1].map(|at| (counter, at)))
        {
            steps.entry((counter, at)).or_default();
        }
        self.describe((COUNTERS, 0), None, "counters");
        let mut sum = (u64::MAX, 0);
        for ((counter, time), by) in steps {
            sum = (counter, if sum.0 == counter { sum.1 + by } else { by });
            let ipis =
                Operation::of(counter.wrapping_sub(IPIS)).map_or("look at the run queue", Operation::name);
            let name = match counter {
                BORROWERS => "CPUs that are lazy".into(),
                ZOMBIES => "zombies".into(),
                _ => format!("IPIs: {ipis}"),
            };
            self.describe((COUNT, counter), Some((COUNTERS, 0)), &name);
            self.add(time, event((COUNT, counter), COUNTER).number(30, sum.1 as u64));
        }
    }
}
