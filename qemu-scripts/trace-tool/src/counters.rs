//! The report's counters, recomputed from the events.
//!
//! The kernel reads its counters one after the other while the CPUs go on, and records where that
//! begins and ends. So a counter must lie between the sum of the events before the beginning and the
//! sum of those up to the end. A counter changes just before its event is recorded: one more event
//! may be counted already.

use kcore::counters::Counters;
use trace_format::{Body, Kind, Operation};

use crate::check::Fault;
use crate::events::{Trace, operation};
use crate::story::{Life, Stage, Story};

/// Of a cross-call: the counter of its IPIs, and that of the CPUs that serve it, if there is one.
fn of_call(asked: Operation) -> (&'static str, &'static str) {
    match asked {
        Operation::Barrier => ("ipi_barrier", "call_barrier"),
        Operation::Shoot => ("shot_ipi", "call_lazy"),
        Operation::Evict => ("exit_kick", "call_lazy"),
        Operation::EvictTrim => ("flush_kick", "call_lazy"),
        Operation::LetGo => ("let_go_ipi", "call_lazy"),
        Operation::FlushPages | Operation::FlushTranslations | Operation::FlushEverything => {
            ("ipi_flush", "call_flush")
        }
        Operation::Machine | Operation::AssertNotLazy => ("ipi_other", ""),
    }
}

/// The counter that an event changes, and by how much.
fn counted(body: &Body) -> impl Iterator<Item = (&'static str, u64)> {
    let one = |name| (name, 1);
    let first = match body.kind {
        Kind::Switch => one(["switch_uk", "switch_kk", "switch_ku", "switch_uu"][usize::from(body.sub & 3)]),
        Kind::Borrow => one("lazy_enter"),
        Kind::Load => one("pidr_writes"),
        Kind::Unit => one("mm_count_rmw"),
        Kind::ShotSelf => one("shot_self"),
        Kind::Filtered => one("ipi_filtered"),
        Kind::Sent => one("ipi_sent_call"),
        Kind::Resched => one("ipi_sent_resched"),
        Kind::Interrupt => one("ipi_received"),
        Kind::NotCalled => one("ipi_resched"),
        Kind::Taken => one(operation(body).map_or("", |asked| of_call(asked).1)),
        Kind::FlushGlobal => one("tlbie"),
        Kind::FlushLocal => one("tlbiel"),
        Kind::Spared => one("flush_spared"),
        Kind::Paid => one("flush_paid"),
        Kind::Flush => one(["flush_none", "flush_local", "flush_global"][(body.arg & 3).min(2) as usize]),
        Kind::Created => one("mm_created"),
        Kind::Freed => one("mm_freed"),
        _ => ("", 0),
    };
    let returns = body.kind == Kind::Switch && body.sub & 3 == 2 && body.mm == body.arg;
    // Each IPI of a call has a reason, too.
    let reason = match body.kind {
        Kind::Sent => one(operation(body).map_or("", |asked| of_call(asked).0)),
        _ => ("", 0),
    };
    let all = [first, reason, ("lazy_same_mm", returns.into())];
    all.into_iter().filter(|(name, by)| !name.is_empty() && *by > 0)
}

/// One that was a zombie: it is counted as one from a moment between the first two times on to one between the
/// last two. An mm that waits has no fourth, or no third and fourth.
struct Zombie {
    /// Its last user gives its unit back.
    gives: u64,
    begun: u64,
    /// The last reference is gone, the mm is about to be freed.
    dying: u64,
    dead: u64,
}

/// All zombies of the trace.
fn zombies(trace: &Trace) -> Vec<Zombie> {
    let zombie = |life: &Life| {
        let begun = life.stamps[Stage::Zombie as usize]?;
        let gives = trace.events.iter().rev().find(|event| {
            let (body, time) = (event.record.body, event.record.time);
            (body.kind, body.sub, body.mm) == (Kind::Users, 1, life.mm) && time <= begun.time
        });
        let at = |stage| life.at(stage).unwrap_or(u64::MAX);
        let gives = gives.map_or(0, |event| event.record.time);
        Some(Zombie { gives, begun: begun.time, dying: at(Stage::Dying), dead: at(Stage::Dead) })
    };
    Story::of(trace).lives.iter().filter_map(zombie).collect()
}

/// The least and the most that a statistic of zombies may be in a report that is read between two times.
type Bounds = fn(&[Zombie], u64, u64) -> (u64, u64);

/// The most at a time, their ticks in sum, and the most ticks of one.
const ZOMBIES: [(&str, Bounds); 3] = [
    ("zombies_peak", |zombies, begin, end| {
        let at_once = |of: fn(&Zombie) -> (u64, u64), until| {
            let begun = |all: &&Zombie| of(all).0 <= until;
            let together = |at| zombies.iter().filter(|other| of(other).0 <= at && at < of(other).1).count();
            zombies.iter().filter(begun).map(|one| together(of(one).0)).max().unwrap_or(0) as u64
        };
        (
            at_once(|one| (one.begun, one.dying), begin),
            at_once(|one| (one.gives, one.dead.saturating_add(1)), end),
        )
    }),
    ("zombie_ticks", |zombies, begin, end| {
        let (least, most) = ticks(zombies, begin, end);
        (least.iter().sum(), most.iter().sum())
    }),
    ("zombie_longest", |zombies, begin, end| {
        let (least, most) = ticks(zombies, begin, end);
        (least.into_iter().max().unwrap_or(0), most.into_iter().max().unwrap_or(0))
    }),
];

/// How long each was a zombie at least, that is counted surely, and at most, that may be counted.
fn ticks(zombies: &[Zombie], begin: u64, end: u64) -> (Vec<u64>, Vec<u64>) {
    let least = zombies.iter().filter(|one| one.dead < begin).map(|one| one.dying - one.begun);
    let most = zombies.iter().filter(|one| one.dying <= end).map(|one| one.dead.min(end) - one.gives);
    (least.collect(), most.collect())
}

/// Compares the last report on the console with the events. Returns how many numbers were compared.
///
/// # Errors
/// A number that the events do not give, or no report.
pub fn compare(trace: &Trace, console: &str) -> Result<usize, Fault> {
    let none = || Fault { rule: "report", text: "the console has no report".into() };
    let report = console.rsplit_once("--- lazy-tlb report ---").ok_or_else(none)?.1;
    let marks = |sub| {
        let mut events = trace.events.iter().rev();
        events.find(|event| event.record.body.kind == Kind::Report && event.record.body.sub == sub)
    };
    let (begin, end) = (marks(0).ok_or_else(none)?.record.time, marks(1).ok_or_else(none)?.record.time);
    let (mut compared, zombies) = (0, zombies(trace));
    for line in report.lines().take_while(|line| !line.starts_with("---")) {
        let mut words = line.split_whitespace();
        let Some(name) = words.next() else { continue };
        if let Some(of) = ZOMBIES.iter().find(|(of, _)| *of == name) {
            let printed: u64 = words.next().and_then(|word| word.parse().ok()).ok_or_else(none)?;
            let (least, most) = (of.1)(&zombies, begin, end);
            if !(least..=most).contains(&printed) {
                let text = format!("{name} is {printed}, by the events {least} to {most}");
                return Err(Fault { rule: "counter", text });
            }
            compared += 1;
        }
        if !Counters::NAMES.contains(&name) {
            continue;
        }
        for (cpu, word) in words.take(trace.cpus).enumerate() {
            let printed: u64 = word.parse().map_err(|_| none())?;
            let (mut least, mut most, mut next) = (0, 0, false);
            for event in trace.events.iter().filter(|event| event.cpu == cpu) {
                let by: u64 =
                    counted(&event.record.body).filter(|(of, _)| *of == name).map(|(_, by)| by).sum();
                least += if event.record.time < begin { by } else { 0 };
                if event.record.time <= end || !next {
                    most += by;
                    next |= event.record.time > end && by > 0;
                }
            }
            if !(least..=most).contains(&printed) {
                let text = format!("{name} of CPU {cpu} is {printed}, by the events {least} to {most}");
                return Err(Fault { rule: "counter", text });
            }
            compared += 1;
        }
    }
    if compared == 0 { Err(none()) } else { Ok(compared) }
}
