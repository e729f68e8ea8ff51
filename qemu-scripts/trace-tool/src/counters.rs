//! The report's counters, recomputed from the events.
//!
//! The kernel reads its counters one after the other while the CPUs go on, and records where that
//! begins and ends. So a counter must lie between the sum of the events before the beginning and the
//! sum of those up to the end. A counter changes just before its event is recorded: one more event
//! may be counted already.

use trace_format::{Body, Kind};

use crate::check::Fault;
use crate::events::Trace;

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
        Kind::Taken => match body.sub {
            0 => one("call_barrier"),
            1 | 2 | 8 => one("call_lazy"),
            3..=5 => one("call_flush"),
            _ => ("", 0),
        },
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
    let reasons = [
        "ipi_barrier",
        "shot_ipi",
        "exit_kick",
        "ipi_flush",
        "ipi_flush",
        "ipi_flush",
        "ipi_other",
        "ipi_other",
        "flush_kick",
    ];
    let reason = if body.kind == Kind::Sent {
        one(reasons.get(usize::from(body.sub)).copied().unwrap_or(""))
    } else {
        ("", 0)
    };
    [first, reason, ("lazy_same_mm", returns.into())].into_iter().filter(|(_, by)| *by > 0)
}

/// Counters that events tell.
const KNOWN: [&str; 32] = [
    "switch_uk",
    "switch_kk",
    "switch_ku",
    "switch_uu",
    "lazy_enter",
    "lazy_same_mm",
    "pidr_writes",
    "mm_count_rmw",
    "shot_ipi",
    "shot_self",
    "exit_kick",
    "flush_kick",
    "ipi_flush",
    "ipi_barrier",
    "ipi_other",
    "ipi_filtered",
    "ipi_sent_call",
    "ipi_sent_resched",
    "ipi_received",
    "ipi_resched",
    "call_flush",
    "call_lazy",
    "call_barrier",
    "tlbie",
    "tlbiel",
    "flush_spared",
    "flush_paid",
    "flush_none",
    "flush_local",
    "flush_global",
    "mm_created",
    "mm_freed",
];

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
    let mut compared = 0;
    for line in report.lines().take_while(|line| !line.starts_with("---")) {
        let mut words = line.split_whitespace();
        let Some(name) = words.next().filter(|name| KNOWN.contains(name)) else { continue };
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
