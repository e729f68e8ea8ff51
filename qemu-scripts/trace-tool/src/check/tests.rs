//! A right trace, and traces broken in one place each.

use trace_format::{Body, Kind};

use super::*;
use crate::counters;
use crate::tests::*;

/// The place of the first event of `kind` on `cpu` about `mm`.
fn place(steps: &[At], cpu: usize, kind: Kind, mm: u64) -> usize {
    steps.iter().position(|&(on, body)| on == cpu && body.kind == kind && body.mm == mm).unwrap()
}

/// The rule that the right trace breaks once `change` has been made.
fn broken(change: impl FnOnce(&mut Vec<At>)) -> &'static str {
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
    assert_eq!(without(0, Kind::Zombie, MM), "life out of order");
    assert_eq!(without(1, Kind::Borrow, MM), "zombie in use");
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
    let early = |steps: &mut Vec<At>| {
        let (from, to) = (place(steps, 1, Kind::Taken, MM), place(steps, 0, Kind::Posted, MM));
        let step = steps.remove(from);
        steps.insert(to, step);
    };
    assert_eq!(broken(early), "taken, not posted");
}

#[test]
fn a_call_taken_for_something_else_is_named() {
    let other = |steps: &mut Vec<At>| {
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
    assert_eq!(with(Kind::End, MM, INIT), "end of no borrow");
}

#[test]
fn a_kernel_thread_that_keeps_its_borrow_is_named() {
    let keeps = |steps: &mut Vec<At>| {
        let at = place(steps, 1, Kind::Borrow, MM);
        steps.insert(at + 1, (1, switch(USER_KERNEL, MM, 0)));
    };
    assert_eq!(broken(keeps), "I2 switch");
}

#[test]
fn a_bit_that_is_cleared_too_early_is_named() {
    let early = |steps: &mut Vec<At>| {
        let at = place(steps, 1, Kind::Borrow, MM);
        steps.insert(at, (1, mask(MM, 0)));
    };
    assert_eq!(broken(early), "I4 mask");
}

#[test]
fn a_free_under_a_borrower_is_named() {
    let nobody_leaves = |steps: &mut Vec<At>| {
        let gone = [Kind::Posted, Kind::Sent, Kind::Taken, Kind::Answered, Kind::Done];
        let leaves = place(steps, 1, Kind::Leave, MM);
        steps.drain(leaves - 1..leaves + 2);
        steps.retain(|(_, body)| !gone.contains(&body.kind));
    };
    assert_eq!(broken(nobody_leaves), "I6 freed while loaded");
}

#[test]
fn a_load_or_a_borrow_of_a_dying_mm_is_named() {
    let late = |step: At| broken(|steps| steps.insert(place(steps, 0, Kind::Dying, MM) + 1, step));
    assert_eq!(late((0, about(Kind::Load, MM))), "load of a dying mm");
    assert_eq!(late((1, about(Kind::Borrow, MM))), "borrow of a dying mm");
    assert_eq!(broken(|steps| steps.push((1, about(Kind::Load, MM)))), "load of a dying mm");
}

#[test]
fn a_count_that_is_0_too_early_is_named() {
    let unit = |sub| (1, Body { sub, ..about(Kind::Unit, MM) });
    let counted = |units: &[At]| {
        let mut steps = right();
        let at = place(&steps, 0, Kind::Dying, MM);
        steps.splice(at..at, units.iter().copied());
        check(&trace(&steps)).map(|_| ()).map_err(|fault| fault.rule)
    };
    assert_eq!(counted(&[unit(0)]), Err("count at the end"));
    assert_eq!(counted(&[unit(0), unit(1), unit(1)]), Err("count below 0"));
    assert_eq!(counted(&[unit(0), unit(1)]), Ok(()));
    let other = |body| (1, body);
    assert_eq!(counted(&[other(count(0))]), Err("count at the end"));
    assert_eq!(counted(&[other(count(0)), unit(1)]), Ok(()), "one count");
    assert_eq!(counted(&[other(count(2))]), Err("count below 0"));
}

#[test]
fn users_that_do_not_add_up_are_named() {
    let with = |units: &[u8]| {
        let mut steps = right();
        let at = place(&steps, 0, Kind::Users, MM);
        steps.splice(at..=at, units.iter().map(|&sub| (0, users(sub))));
        check(&trace(&steps)).map(|_| ()).map_err(|fault| fault.rule)
    };
    assert_eq!(with(&[]), Err("users at the end"));
    assert_eq!(with(&[1, 1]), Err("users below 0"));
    assert_eq!(with(&[0, 1]), Err("users at the end"));
    assert_eq!(with(&[2, 1]), Err("users at the end"));
    assert_eq!(with(&[0, 2, 1, 1, 1]), Ok(()));
}

#[test]
fn what_happens_twice_is_named() {
    let twice = |cpu, kind, mm| {
        broken(|steps| {
            let at = place(steps, cpu, kind, mm);
            steps.insert(at, steps[at]);
        })
    };
    assert_eq!(twice(0, Kind::Posted, MM), "posted before done");
    assert_eq!(twice(1, Kind::Taken, MM), "taken twice");
    assert_eq!(twice(1, Kind::Answered, 0), "answered twice");
    assert_eq!(twice(0, Kind::Created, MM), "life out of order");
    assert_eq!(twice(0, Kind::Freed, MM), "life out of order");
    assert_eq!(twice(0, Kind::FlushGlobal, MM), "flush not begun");
    let again = |steps: &mut Vec<At>| steps.push((0, call(Kind::Posted, 0)));
    assert_eq!(broken(again), "posted twice");
}

#[test]
fn calls_of_nobody_are_named() {
    let without_its_post = |kept| {
        let calls = [Kind::Posted, Kind::Sent, Kind::Taken, Kind::Answered, Kind::Done];
        broken(|steps| steps.retain(|(_, body)| body.kind == kept || !calls.contains(&body.kind)))
    };
    assert_eq!(without_its_post(Kind::Answered), "answered, not posted");
    assert_eq!(without_its_post(Kind::Done), "done, not posted");
    assert_eq!(broken(|steps| steps.push((1, call(Kind::Taken, 0)))), "taken after done");
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
    // One was a zombie from µs 15 to one of µs 18 to 28.
    let compare = |line: &str| {
        let report = format!("--- lazy-tlb report ---\n{line}\n--- end of report ---\n");
        counters::compare(&trace, &report).map_err(|fault| fault.rule)
    };
    for (name, least, most) in [("zombies_peak", 1, 1), ("zombie_ticks", 3, 14), ("zombie_longest", 3, 14)] {
        for (value, right) in [(least, true), (most, true), (least - 1, false), (most + 1, false)] {
            let expected = if right { Ok(1) } else { Err("counter") };
            assert_eq!(compare(&format!("{name} {value}")), expected, "{name} {value}");
        }
    }
}
