//! A trace by hand, and the one that TRACE_DUMP names, written for Perfetto and read back with Perfetto's own
//! definitions: every slice, arrow, counter and switch is that of the events.

use std::collections::{BTreeMap, HashMap};

use perfetto_protos::trace::Trace as File;
use perfetto_protos::track_event::track_event::Type;
use protobuf::Message;
use trace_format::{Body, Dump, Kind, LINE, MAGIC, Mm, RECORD_BYTES, Record, VERSION};
use trace_tool::events::Trace;
use trace_tool::perfetto;
use trace_tool::story::{Stage, Story};

/// A slice: its beginning and end in nanoseconds, its name, and how many slices are around it. An instant ends
/// where it begins.
type Slice = (u64, Option<u64>, String, usize);

/// What the file has, by the names of tracks.
#[derive(Default, Debug, PartialEq)]
struct Found {
    slices: BTreeMap<String, Vec<Slice>>,
    counters: BTreeMap<String, Vec<(u64, i64)>>,
    /// By flow: where it goes through, in the order of times.
    arrows: BTreeMap<u64, Vec<(u64, String)>>,
    /// By CPU: time, both tasks, and the state of the first.
    switches: BTreeMap<usize, Vec<(u64, i32, i32, i64)>>,
}

/// Reads a file; panics at what Perfetto would drop.
fn read(bytes: &[u8]) -> Found {
    let file = File::parse_from_bytes(bytes).expect("a trace of Perfetto");
    let (mut found, mut names, mut open) =
        (Found::default(), HashMap::<u64, String>::new(), HashMap::<u64, Vec<usize>>::new());
    let mut last = 0;
    for packet in &file.packet {
        if packet.has_track_descriptor() {
            let track = packet.track_descriptor();
            let parent = (track.parent_uuid() != 0).then(|| names[&track.parent_uuid()].clone() + "/");
            let name = parent.unwrap_or_default() + track.name();
            assert!(names.insert(track.uuid(), name).is_none(), "described twice: {}", track.name());
        } else if packet.has_track_event() {
            let (event, time) = (packet.track_event(), packet.timestamp());
            assert!(time >= last, "times go back");
            last = time;
            let track = names.get(&event.track_uuid()).expect("a track that is described").clone();
            let slices = found.slices.entry(track.clone()).or_default();
            let stack = open.entry(event.track_uuid()).or_default();
            match event.type_() {
                Type::TYPE_SLICE_BEGIN => {
                    slices.push((time, None, event.name().into(), stack.len()));
                    stack.push(slices.len() - 1);
                }
                Type::TYPE_SLICE_END => slices[stack.pop().expect("an open slice")].1 = Some(time),
                Type::TYPE_INSTANT => slices.push((time, Some(time), event.name().into(), stack.len())),
                _ => found.counters.entry(track.clone()).or_default().push((time, event.counter_value())),
            }
            for flow in event.flow_ids.iter().chain(&event.terminating_flow_ids) {
                let word = event.name().split(' ').next().unwrap_or_default();
                assert_eq!(
                    event.terminating_flow_ids.is_empty(),
                    word != "CPU",
                    "an arrow ends at its answer"
                );
                found.arrows.entry(*flow).or_default().push((time, format!("{track}: {word}")));
            }
        } else {
            let bundle = packet.ftrace_events();
            let switches = found.switches.entry(bundle.cpu() as usize).or_default();
            for event in &bundle.event {
                let switch = event.sched_switch();
                let row = (event.timestamp(), switch.prev_pid(), switch.next_pid(), switch.prev_state());
                switches.push(row);
            }
        }
    }
    found.slices.retain(|_, slices| !slices.is_empty());
    found
}

/// A dump of these events, one tick of a microsecond apart, except that `at_once` have the time of the event
/// before.
fn dump(steps: &[(usize, Body)], at_once: &[usize]) -> Vec<u8> {
    let head = Dump::head_bytes(2);
    let mut words = vec![0_u64; (head + 2 * 256 * RECORD_BYTES) / 8];
    words[..7].copy_from_slice(&[MAGIC, VERSION, 2, 256, 1_000_000, 2, 0xfff]);
    let mut time = 0;
    for (n, &(cpu, body)) in steps.iter().enumerate() {
        time += u64::from(!at_once.contains(&n));
        let position = &mut words[2 * LINE / 8 * (cpu + 1)];
        let number = *position / RECORD_BYTES as u64;
        let (at, record) = (head / 8 + (cpu * 256 + number as usize) * 4, Record { time, body });
        let encoded = record.encode(number);
        *position += RECORD_BYTES as u64;
        words[at..at + 4].copy_from_slice(&encoded);
    }
    words.iter().flat_map(|word| word.to_be_bytes()).collect()
}

const INIT: u64 = Mm::INIT.0;
const MM: u64 = 1 << 32 | 3;

/// CPU 1 is lazy on an mm; CPU 0, its last user, shoots it. What the shoot does takes no time.
fn shot() -> Vec<u8> {
    let about = Body::about;
    let switch = |sub, tid, from, to| Body { sub, other: tid, arg: to, ..about(Kind::Switch, from) };
    let call = |kind, cpu| Body { sub: 1, other: 1, arg: cpu, ..about(kind, MM) };
    let steps = [
        (0, about(Kind::Created, MM)),
        (1, switch(2, 7, INIT, MM)),
        (1, about(Kind::Load, MM)),
        (1, switch(8, 0, MM, 0)),
        (1, about(Kind::Borrow, MM)),
        (0, about(Kind::Zombie, MM)),
        (0, about(Kind::Dying, MM)),
        (0, call(Kind::Posted, 0)),
        (0, call(Kind::Sent, 1)),
        (1, call(Kind::Taken, 0)),
        (1, about(Kind::Load, INIT)),
        (1, about(Kind::End, MM)),
        (1, Body { other: 1, ..Body::new(Kind::Answered) }),
        (0, call(Kind::Done, 0)),
        (0, about(Kind::Freed, MM)),
        (0, Body { other: 1, ..Body::new(Kind::Resched) }),
    ];
    dump(&steps, &[10, 11, 12])
}

#[test]
fn a_shoot_is_read_back_whole() {
    let trace = Trace::read(&shot()).unwrap();
    let found = read(&perfetto::encode(&trace, &Story::of(&trace)));
    let slice =
        |from: u64, to: u64, name: &str, depth| (from * 1000, Some(to * 1000), name.to_string(), depth);
    let open = |from: u64, name: &str| (from * 1000, None, name.to_string(), 0);
    let slices = [
        (
            "CPUs/CPU 0/calls",
            vec![
                slice(8, 11, "shoot mm3.1", 0),
                slice(9, 9, "IPI to CPU 1", 1),
                slice(10, 10, "CPU 1 answers", 1),
            ],
        ),
        (
            "CPUs/CPU 1/address space",
            vec![
                slice(2, 3, "init_mm", 0),
                slice(3, 5, "mm3.1", 0),
                slice(5, 10, "mm3.1 lazy", 0),
                open(10, "init_mm"),
            ],
        ),
        ("CPUs/CPU 1/calls", vec![slice(10, 10, "shoot mm3.1 for CPU 0", 0)]),
        ("CPUs/CPU 1/task", vec![slice(2, 4, "task 7", 0), open(4, "idle")]),
        (
            "address spaces/mm3.1",
            vec![
                slice(1, 6, "mm3.1 live", 0),
                slice(6, 7, "mm3.1 zombie", 0),
                slice(7, 12, "mm3.1 dying", 0),
                slice(12, 12, "mm3.1 freed", 0),
            ],
        ),
    ];
    let counters = [
        ("counters/CPUs that are lazy", vec![(1000, 0), (5000, 1), (10_000, 0), (13_000, 0)]),
        ("counters/IPIs: look at the run queue", vec![(1000, 0), (13_000, 1)]),
        ("counters/IPIs: shoot", vec![(1000, 0), (9000, 1), (13_000, 1)]),
        ("counters/zombies", vec![(1000, 0), (6000, 1), (12_000, 0), (13_000, 0)]),
    ];
    let at = |time, place: &str| (time, place.to_string());
    let arrow = vec![
        at(9000, "CPUs/CPU 0/calls: IPI"),
        at(10_000, "CPUs/CPU 1/calls: shoot"),
        at(10_000, "CPUs/CPU 0/calls: CPU"),
    ];
    let expected = Found {
        slices: slices.into_iter().map(|(track, slices)| (track.into(), slices)).collect(),
        counters: counters.into_iter().map(|(track, steps)| (track.into(), steps)).collect(),
        arrows: [(1 << 32 | 1, arrow)].into(),
        switches: [(0, vec![]), (1, vec![(2000, 0, 7, 1), (4000, 7, 0, 16)])].into(),
    };
    assert_eq!(found, expected);
}

/// Of a real trace: each stretch is a slice, each call an arrow, each switch a switch, and nothing else is there.
#[test]
fn every_slice_and_arrow_is_of_an_event() {
    let bytes = std::env::var_os("TRACE_DUMP").map_or_else(shot, |path| std::fs::read(path).expect("a dump"));
    let trace = Trace::read(&bytes).unwrap();
    let story = Story::of(&trace);
    let found = read(&perfetto::encode(&trace, &story));
    let ns = |ticks: u64| (u128::from(ticks) * 1_000_000_000 / u128::from(trace.ticks)) as u64;
    let count = |kind| trace.events.iter().filter(|event| event.record.body.kind == kind).count();
    let mut slices: Vec<(String, u64, Option<u64>)> = Vec::new();
    let mut add = |track: String, from, to: Option<u64>| slices.push((track, ns(from), to.map(ns)));
    story.ran.iter().for_each(|ran| add(format!("CPUs/CPU {}/task", ran.cpu), ran.from, ran.to));
    story
        .stretches
        .iter()
        .for_each(|held| add(format!("CPUs/CPU {}/address space", held.cpu), held.from, held.to));
    for call in &story.calls {
        let by = format!("CPUs/CPU {}/calls", call.by);
        call.posted.into_iter().for_each(|posted| add(by.clone(), posted, call.done));
        for leg in &call.legs {
            leg.sent.into_iter().for_each(|sent| add(by.clone(), sent, Some(sent)));
            leg.answered.into_iter().for_each(|answered| add(by.clone(), answered, Some(answered)));
            leg.taken
                .into_iter()
                .for_each(|taken| add(format!("CPUs/CPU {}/calls", leg.to), taken, leg.answered));
            let passed = [leg.sent, leg.taken, leg.answered].into_iter().flatten().map(ns);
            let flow = (call.by as u64) << 48 | (leg.to as u64) << 32 | u64::from(call.number);
            let times = found.arrows.get(&flow).into_iter().flatten().map(|(time, _)| *time);
            assert!(times.eq(passed), "call {} of CPU {} to CPU {}", call.number, call.by, leg.to);
        }
    }
    for life in &story.lives {
        let track = format!("address spaces/{}", Mm(life.mm));
        let stages = [Stage::Created, Stage::Zombie, Stage::Dying, Stage::Freed].map(|stage| life.at(stage));
        for pair in stages.windows(2) {
            pair[0].into_iter().for_each(|from| add(track.clone(), from, pair[1]));
        }
        stages[3].into_iter().for_each(|freed| add(track.clone(), freed, Some(freed)));
    }
    let mut read: Vec<_> = found
        .slices
        .iter()
        .flat_map(|(track, slices)| slices.iter().map(|slice| (track.clone(), slice.0, slice.1)))
        .collect();
    slices.sort();
    read.sort();
    assert_eq!(read, slices);
    assert_eq!(found.arrows.len(), story.calls.iter().map(|call| call.legs.len()).sum::<usize>());
    assert_eq!(found.switches.values().map(Vec::len).sum::<usize>(), count(Kind::Switch));
    let last = |name: &str| found.counters.get(name).and_then(|steps| steps.last()).map_or(0, |step| step.1);
    let ipis = found
        .counters
        .keys()
        .filter(|name| name.starts_with("counters/IPIs"))
        .map(|name| last(name))
        .sum::<i64>();
    assert_eq!(ipis as usize, count(Kind::Sent) + count(Kind::Resched));
    let alive =
        story.lives.iter().filter(|life| life.at(Stage::Zombie).is_some() && life.at(Stage::Freed).is_none());
    assert_eq!(last("counters/zombies") as usize, alive.count());
}
