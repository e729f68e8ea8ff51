//! A right trace, and traces broken in one place each.

use std::collections::HashMap;

use trace_format::{Body, Group, Kind, Mm, Record};

use super::*;
use crate::counters;

const INIT: u64 = Mm::INIT.0;
const MM: u64 = 1 << 32 | 3;
/// Of a switch: the arms.
const USER_KERNEL: u8 = 0;
const KERNEL_USER: u8 = 2;
/// The operation of a shoot.
const SHOOT: u8 = 1;

type Step = (usize, Body);

fn about(kind: Kind, mm: u64) -> Body {
    Body::about(kind, mm)
}

fn switch(sub: u8, from: u64, to: u64) -> Body {
    Body { sub, other: 7, arg: to, ..about(Kind::Switch, from) }
}

fn call(kind: Kind, cpu: u64) -> Body {
    Body { sub: SHOOT, other: 1, arg: cpu, ..about(kind, MM) }
}

fn mask(mm: u64, sub: u8) -> Body {
    Body { sub, ..about(Kind::Mask, mm) }
}

/// Two CPUs come; CPU 1 runs a task of an mm and goes idle, lazy on it; CPU 0 shoots it and frees
/// the mm.
fn right() -> Vec<Step> {
    let comes = |cpu| {
        [mask(INIT, 1), about(Kind::Load, INIT), Body { sub: 1, ..Body::new(Kind::Cpu) }]
            .map(|body| (cpu, body))
    };
    let mut steps: Vec<Step> = [comes(0), comes(1)].concat();
    steps.extend([
        (0, about(Kind::Created, MM)),
        (1, switch(KERNEL_USER, INIT, MM)),
        (1, mask(MM, 1)),
        (1, about(Kind::Load, MM)),
        (1, about(Kind::Leave, INIT)),
        (1, about(Kind::End, INIT)),
        (1, switch(USER_KERNEL, MM, 0)),
        (1, about(Kind::Borrow, MM)),
        (0, about(Kind::Zombie, MM)),
        (0, about(Kind::FlushBegins, MM)),
        (0, about(Kind::FlushGlobal, MM)),
        (0, about(Kind::Dying, MM)),
        (0, Body { other: 1, ..about(Kind::Shoot, MM) }),
        (0, call(Kind::Posted, 0)),
        (0, call(Kind::Sent, 1)),
        (1, Body::new(Kind::Interrupt)),
        (1, call(Kind::Taken, 0)),
        (1, about(Kind::Load, INIT)),
        (1, about(Kind::Leave, MM)),
        (1, about(Kind::End, MM)),
        (1, Body { other: 1, ..Body::new(Kind::Answered) }),
        (0, call(Kind::Done, 0)),
        (0, about(Kind::Dead, MM)),
        (0, about(Kind::Freed, MM)),
        (0, Body::new(Kind::Report)),
        (0, Body { sub: 1, ..Body::new(Kind::Report) }),
    ]);
    steps
}

/// The trace of `steps`, one tick apart.
fn trace(steps: &[Step]) -> Trace {
    let mut trace = Trace {
        events: Vec::new(),
        cpus: 2,
        ticks: 512_000_000,
        policy: 2,
        overrun: vec![0; 2],
        groups: Group::EVERY,
        from_boot: true,
        names: HashMap::new(),
    };
    let records = (1..).zip(steps).map(|(time, &(cpu, body))| (cpu, time, Record { time, body }));
    trace.fill(records.collect());
    trace
}

/// The place of the first event of `kind` on `cpu` about `mm`.
fn place(steps: &[Step], cpu: usize, kind: Kind, mm: u64) -> usize {
    steps.iter().position(|&(on, body)| on == cpu && body.kind == kind && body.mm == mm).unwrap()
}

/// The rule that the right trace breaks once `change` has been made.
fn broken(change: impl FnOnce(&mut Vec<Step>)) -> &'static str {
    let mut steps = right();
    change(&mut steps);
    check(&trace(&steps)).expect_err("a broken trace passes").rule
}

/// … without the first event of `kind` on `cpu` about `mm`.
fn without(cpu: usize, kind: Kind, mm: u64) -> &'static str {
    broken(|steps| {
        let at = place(steps, cpu, kind, mm);
        steps.remove(at);
    })
}

#[test]
fn a_right_trace_passes() {
    let found = check(&trace(&right())).unwrap();
    assert_eq!(found.to_string(), "1 calls, 1 borrows, 1 mms freed: right");
}

#[test]
fn missing_events_are_named() {
    assert_eq!(without(0, Kind::Posted, MM), "sent, not posted");
    assert_eq!(without(1, Kind::Taken, MM), "answered, not taken");
    assert_eq!(without(1, Kind::Answered, 0), "done before the answers");
    assert_eq!(without(0, Kind::FlushBegins, MM), "flush not begun");
    assert_eq!(without(0, Kind::Dying, MM), "life out of order");
    assert_eq!(without(1, Kind::Mask, MM), "I4 load");
    assert_eq!(without(1, Kind::Borrow, MM), "end of no borrow");
}

#[test]
fn a_call_that_no_cpu_takes_is_named() {
    assert_eq!(
        broken(|steps| steps.retain(|(_, body)| !matches!(body.kind, Kind::Taken | Kind::Answered))),
        "sent, never taken"
    );
}

#[test]
fn a_call_taken_before_it_is_posted_is_named() {
    let early = |steps: &mut Vec<Step>| {
        let (from, to) = (place(steps, 1, Kind::Taken, MM), place(steps, 0, Kind::Posted, MM));
        let step = steps.remove(from);
        steps.insert(to, step);
    };
    assert_eq!(broken(early), "taken, not posted");
}

#[test]
fn a_call_taken_for_something_else_is_named() {
    let other = |steps: &mut Vec<Step>| {
        let at = place(steps, 1, Kind::Taken, MM);
        steps[at].1.sub = 3;
    };
    assert_eq!(broken(other), "another call");
}

#[test]
fn wrong_names_of_what_is_loaded_are_named() {
    let with = |kind, mm: u64, wrong: u64| {
        broken(move |steps| {
            let at = place(steps, 1, kind, mm);
            steps[at].1.mm = wrong;
        })
    };
    assert_eq!(with(Kind::Switch, MM, INIT), "I1 switch");
    assert_eq!(with(Kind::Leave, MM, INIT), "I1 leave");
    assert_eq!(with(Kind::Borrow, MM, INIT), "I3 borrow");
}

#[test]
fn a_kernel_thread_that_keeps_its_borrow_is_named() {
    let keeps = |steps: &mut Vec<Step>| {
        let at = place(steps, 1, Kind::Borrow, MM);
        steps.insert(at + 1, (1, switch(USER_KERNEL, MM, 0)));
    };
    assert_eq!(broken(keeps), "I2 switch");
}

#[test]
fn a_bit_that_is_cleared_too_early_is_named() {
    let early = |steps: &mut Vec<Step>| {
        let at = place(steps, 1, Kind::Borrow, MM);
        steps.insert(at, (1, mask(MM, 0)));
    };
    assert_eq!(broken(early), "I4 mask");
}

#[test]
fn a_free_under_a_borrower_is_named() {
    let nobody_leaves = |steps: &mut Vec<Step>| {
        let gone = [Kind::Posted, Kind::Sent, Kind::Taken, Kind::Answered, Kind::Done];
        let leaves = place(steps, 1, Kind::Leave, MM);
        steps.drain(leaves - 1..leaves + 2);
        steps.retain(|(_, body)| !gone.contains(&body.kind));
    };
    assert_eq!(broken(nobody_leaves), "I6 freed while loaded");
}

#[test]
fn a_load_of_a_freed_mm_is_named() {
    assert_eq!(broken(|steps| steps.push((1, about(Kind::Load, MM)))), "load of a freed mm");
}

#[test]
fn the_end_of_init_mm_is_named() {
    assert_eq!(broken(|steps| steps.push((1, about(Kind::Dying, INIT)))), "I5 end of init_mm");
}

#[test]
fn what_a_late_trace_does_not_know_is_no_fault() {
    let steps = right();
    for first in 0..steps.len() {
        let mut late = trace(&steps[first..]);
        late.overrun = vec![1; 2];
        check(&late).unwrap_or_else(|fault| panic!("from event {first}: {fault}"));
    }
}

#[test]
fn what_was_switched_off_meanwhile_is_unknown() {
    let mut steps = right();
    let (from, to) = (place(&steps, 1, Kind::Borrow, MM), place(&steps, 0, Kind::Dead, MM));
    steps.splice(from..to, [(0, Body::new(Kind::Setting)), (1, Body::new(Kind::Setting))]);
    check(&trace(&steps)).unwrap_or_else(|fault| panic!("{fault}"));
}

#[test]
fn a_report_that_differs_is_named() {
    let report = |loads: u32| {
        format!(
            "--- lazy-tlb report ---\npolicy x\ncounter cpu0 cpu1 total\npidr_writes 1 {loads} 4\n--- end of report ---\n"
        )
    };
    let trace = trace(&right());
    assert_eq!(counters::compare(&trace, &report(3)).unwrap(), 2);
    assert_eq!(counters::compare(&trace, &report(4)).unwrap_err().rule, "counter");
    assert_eq!(counters::compare(&trace, "").unwrap_err().rule, "report");
}
