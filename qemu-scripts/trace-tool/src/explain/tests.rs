//! Explanations of traces by hand, compared whole.

use trace_format::{Body, Why};

use super::*;
use crate::tests::{At, INIT, MM, about, call, count, end, mask, trace};

const OTHER: u64 = 1 << 32 | 4;
/// Arms of a switch, and what becomes of the task before.
const USER_KERNEL: u8 = 0;
const KERNEL_KERNEL: u8 = 1;
const KERNEL_USER: u8 = 2;
const EXITS: u8 = 2 << 2;

fn switch(sub: u8, tid: u32, from: u64, to: u64) -> Body {
    Body { sub, other: tid, arg: to, ..about(Kind::Switch, from) }
}

fn name(tid: u32, text: [u8; 8]) -> Body {
    Body { other: tid, ..about(Kind::Name, u64::from_be_bytes(text)) }
}

fn unit(sub: u8) -> Body {
    Body { sub, ..about(Kind::Unit, MM) }
}

/// Task 7 runs on CPU 1, which stays lazy on its mm; task 8 runs on CPU 0, and is its last user.
fn beginning() -> Vec<At> {
    vec![
        (0, name(7, *b"demo\0\0\0\0")),
        (0, switch(KERNEL_USER, 8, INIT, MM)),
        (0, about(Kind::Created, MM)),
        (0, about(Kind::Load, MM)),
        (0, about(Kind::End, INIT)),
        (1, switch(KERNEL_USER, 7, INIT, MM)),
        (1, mask(MM, 1)),
        (1, about(Kind::Load, MM)),
        (1, about(Kind::End, INIT)),
        (1, switch(USER_KERNEL, 0, MM, 0)),
        (1, about(Kind::Borrow, MM)),
        (1, switch(KERNEL_USER, 7, MM, MM)),
        (1, about(Kind::End, MM)),
        (1, about(Kind::Borrow, MM)),
        (1, switch(KERNEL_KERNEL | EXITS, 0, MM, 0)),
        (0, about(Kind::Borrow, MM)),
        (0, about(Kind::Zombie, MM)),
    ]
}

/// Under shootdown: CPU 0 kicks CPU 1.
fn kicked() -> Vec<At> {
    let asks = |kind, cpu| Body { sub: 2, ..call(kind, cpu) };
    let mut steps = beginning();
    steps.extend([
        (0, Body { arg: 1 << 1, ..about(Kind::Evict, MM) }),
        (0, asks(Kind::Posted, 0)),
        (0, asks(Kind::Sent, 1)),
        (1, asks(Kind::Taken, 0)),
        (1, about(Kind::Load, INIT)),
        (1, about(Kind::Leave, MM)),
        (1, end(MM, Why::Kick)),
        (1, asks(Kind::Answered, 0)),
        (0, asks(Kind::Done, 0)),
        (0, count(2)),
        (0, about(Kind::Dying, MM)),
        (0, about(Kind::Load, INIT)),
        (0, end(MM, Why::Shoot)),
        (0, about(Kind::ShotSelf, MM)),
        (0, about(Kind::Shoot, MM)),
        (0, about(Kind::Dead, MM)),
        (0, about(Kind::Freed, MM)),
    ]);
    steps
}

/// Under refcount: CPU 1 goes on to another mm.
fn counted() -> Vec<At> {
    let mut steps = beginning();
    steps.extend([
        (0, count(2)),
        (0, switch(KERNEL_USER | EXITS, 9, MM, OTHER)),
        (0, about(Kind::Load, OTHER)),
        (0, about(Kind::End, MM)),
        (0, unit(1)),
        (1, switch(KERNEL_USER, 10, MM, OTHER)),
        (1, about(Kind::Load, OTHER)),
        (1, about(Kind::End, MM)),
        (1, unit(1)),
        (1, about(Kind::Dying, MM)),
        (1, about(Kind::Dead, MM)),
        (1, about(Kind::Freed, MM)),
    ]);
    steps
}

/// Under shootdown: task 9 works for a user on CPU 1, and its reference is the last.
fn kept() -> Vec<At> {
    let by = |body| Body { other: 9, ..body };
    let mut steps = beginning();
    steps.insert(2, (1, by(count(0))));
    steps.extend([
        (0, count(2)),
        (1, switch(KERNEL_KERNEL, 9, MM, 0)),
        (1, by(count(1))),
        (1, about(Kind::Dying, MM)),
    ]);
    steps
}

/// Under quiescent: CPU 1 goes on to another mm when no reference is left, and frees.
fn quiesced() -> Vec<At> {
    let mut steps = beginning();
    steps.extend([
        (0, count(2)),
        (0, about(Kind::Dying, MM)),
        (0, switch(KERNEL_USER | EXITS, 9, MM, OTHER)),
        (0, about(Kind::Load, OTHER)),
        (0, about(Kind::End, MM)),
        (1, switch(KERNEL_USER, 10, MM, OTHER)),
        (1, about(Kind::Load, OTHER)),
        (1, about(Kind::End, MM)),
        (1, about(Kind::Dead, MM)),
        (1, about(Kind::Freed, MM)),
    ]);
    steps
}

fn explained(steps: &[At], policy: u64, name: Option<&str>) -> Result<String, String> {
    let trace = Trace { policy, ..trace(steps) };
    let story = Story::of(&trace);
    find_mm(&story, name).map(|(mm, which)| which + &explain_mm(&trace, &story, mm))
}

#[test]
fn a_kick_is_told() {
    let expected = "\
mm3.1, policy shootdown: task 8 made it on CPU 0 at 3.00 µs.
task 8 used it from 2.00 µs to 16.00 µs, when it gave it up on CPU 0.
demo-7 used it from 6.00 µs to 14.00 µs, when it exited on CPU 1.
CPU 1 was lazy on it once while it had users, 2.00 µs in all, and went back to a task that uses it; the last time ended at 13.00 µs.
Its last user was task 8, which gave it up on CPU 0 at 17.00 µs.
2 CPUs were lazy on it then:
  CPU 1, since 14.00 µs, was kicked by CPU 0 at 22.00 µs, 5.00 µs later.
  CPU 0, since 16.00 µs, left it for its own last drop at 28.00 µs, 11.00 µs later.
To flush for the exit, CPU 0 kicked 1 CPU at 18.00 µs, and waited 7.00 µs until that was done.
Its last reference went on CPU 0 at 27.00 µs, 10.00 µs after its last user: the one that all users share, which the exit gives back at its end.
So it waited 7.00 µs for other CPUs; the rest was the exit's own work.
It was freed at 33.00 µs, 16.00 µs after its last user had gone.
";
    assert_eq!(explained(&kicked(), 2, None).unwrap(), expected);
}

#[test]
fn a_zombie_that_a_borrow_keeps_is_told() {
    let expected = "\
mm3.1, policy refcount: task 8 made it on CPU 0 at 3.00 µs.
task 8 used it from 2.00 µs to 16.00 µs, when it exited on CPU 0.
demo-7 used it from 6.00 µs to 14.00 µs, when it exited on CPU 1.
CPU 1 was lazy on it once while it had users, 2.00 µs in all, and went back to a task that uses it; the last time ended at 13.00 µs.
Its last user was task 8, which gave it up on CPU 0 at 17.00 µs.
2 CPUs were lazy on it then:
  CPU 0, since 16.00 µs, went on to task 9 of mm4.1 at 19.00 µs, 2.00 µs later.
  CPU 1, since 14.00 µs, went on to task 10 of mm4.1 at 23.00 µs, 6.00 µs later.
Its last reference went on CPU 1 at 26.00 µs, 9.00 µs after its last user: the unit of that CPU's borrow.
So it waited for CPU 1 to run a task of another address space.
It was freed at 28.00 µs, 11.00 µs after its last user had gone.
";
    assert_eq!(explained(&counted(), 1, Some("mm3.1")).unwrap(), expected);
}

#[test]
fn the_last_cpu_that_leaves_is_told() {
    let told = explained(&quiesced(), 7, None).unwrap();
    let end = "\
Its last reference went on CPU 0 at 18.00 µs, 1.00 µs after its last user: the one that all users share, which the exit gives back at its end.
So it waited for CPU 1 to leave it.
It was freed at 26.00 µs, 9.00 µs after its last user had gone.
";
    assert!(told.ends_with(end), "{told}");
}

#[test]
fn who_kept_the_last_reference_is_told() {
    let told = explained(&kept(), 2, Some("mm3.1")).unwrap();
    assert!(told.contains("task 9 held a reference from 3.00 µs to 19.00 µs."), "{told}");
    let end = "2.00 µs after its last user: the one that task 9 had taken at 3.00 µs.
So it waited for the reference that task 9 had taken.
";
    assert!(told.contains(end), "{told}");
    let handed = |kind| Body { kind, ..count(0) };
    let others = [(0, handed(Kind::Count)), (0, handed(Kind::Users)), (1, Body { other: 9, ..count(1) })];
    let told = explained(&[&beginning()[..3], &others].concat(), 2, Some("mm3.1")).unwrap();
    assert!(
        told.contains("task 8 took a reference at 4.00 µs, which task 9 gave back at 4.00 µs."),
        "{told}"
    );
    assert!(told.contains("task 8 took a unit of mm_users at 4.00 µs.\n"), "{told}");
    let told = explained(&[&beginning()[..3], &others[..1]].concat(), 2, Some("mm3.1")).unwrap();
    assert!(told.contains("task 8 holds a reference from 4.00 µs on, and still does"), "{told}");
}

/// The reason is the record's, and who asked is the call's that runs meanwhile.
#[test]
fn each_reason_is_told() {
    let told = |why, steps: fn(At) -> Vec<At>| {
        let left = steps((1, end(MM, why)));
        let steps = [beginning(), left].concat();
        let told = explained(&steps, 2, Some("mm3.1")).unwrap();
        let line = told.lines().find(|line| line.starts_with("  CPU 1")).unwrap();
        line["  CPU 1, since 14.00 µs, ".len()..].split(" at ").next().unwrap().to_string()
    };
    let alone = |end| vec![(1, about(Kind::Load, INIT)), end];
    let asked = |end| {
        vec![(1, call(Kind::Taken, 0)), (1, about(Kind::Load, INIT)), end, (1, call(Kind::Answered, 0))]
    };
    for (why, own, others) in [
        (Why::Shoot, "left it for its own last drop", "was shot by CPU 0"),
        (
            Why::LetGo,
            "left it, as it found no free PID,",
            "was asked to leave by CPU 0, which found no free PID,",
        ),
        (Why::Kick, "left it for a flush of its own", "was kicked by CPU 0"),
        (Why::Trim, "left it, as its own trim was due,", "was sent away by CPU 0, which trimmed the mask,"),
    ] {
        assert_eq!((told(why, alone).as_str(), told(why, asked).as_str()), (own, others));
    }
    assert_eq!(told(Why::Offline, alone), "went offline");
    assert_eq!(told(Why::Idle, alone), "left it, as it had been idle for long,");
}

#[test]
fn a_trace_that_begins_late_and_ends_early_is_told_as_far_as_it_goes() {
    let steps = beginning();
    let expected = "\
mm3.1, policy hazard: it was made before the trace begins.
task 7 used it from 2.00 µs to 4.00 µs, when it exited on CPU 1.
CPU 1 was lazy on it once while it had users, 2.00 µs in all, and went back to a task that uses it; the last time ended at 3.00 µs.
It has users when the trace ends.
";
    assert_eq!(
        explained(&steps[10..15], 3, None).unwrap_err(),
        "the trace has no address space that is freed"
    );
    assert_eq!(explained(&steps[10..15], 3, Some("mm3.1")).unwrap(), expected);
}

#[test]
fn a_cpu_is_told_stretch_by_stretch() {
    let trace = trace(&kicked());
    let story = Story::of(&trace);
    let expected = "\
CPU 1, policy shootdown: 6 stretches of one address space, 2 of them lazy.
6.00 to 8.00 µs: init_mm, nothing borrowed, while a task ran.
8.00 to 11.00 µs: mm3.1, owned by demo-7.
11.00 to 13.00 µs: lazy on mm3.1 while idle ran; then it went back to demo-7, which uses it.
13.00 to 14.00 µs: mm3.1, owned by demo-7.
14.00 to 22.00 µs: lazy on mm3.1 while demo-7 and idle ran; then it was kicked by CPU 0.
22.00 to the end: init_mm, nothing borrowed, while idle ran.
";
    assert_eq!(explain_cpu(&trace, &story, "1").unwrap(), expected);
    assert_eq!(
        explain_cpu(&trace, &story, "2").unwrap_err(),
        "there is no CPU 2; the machine has CPUs 0 to 1"
    );
    assert_eq!(
        explain_cpu(&trace, &story, "x").unwrap_err(),
        "there is no CPU x; the machine has CPUs 0 to 1"
    );
}

#[test]
fn the_name_of_a_slot_is_that_of_its_last_mm() {
    let whole = explained(&kicked(), 2, Some("mm3.1")).unwrap();
    assert_eq!(explained(&kicked(), 2, Some("mm3")).unwrap(), whole);
    assert_eq!(explained(&kicked(), 2, Some("3")).unwrap(), whole);
    let later = MM + (1 << 32);
    let steps = [kicked(), vec![(0, about(Kind::Created, later)), (0, about(Kind::Zombie, later))]].concat();
    assert_eq!(explained(&steps, 2, Some("mm3.1")).unwrap(), whole);
    for name in ["mm3", "3"] {
        let told = explained(&steps, 2, Some(name)).unwrap();
        let begins =
            format!("{name} is mm3.2, the last of that slot in the trace.\nmm3.2, policy shootdown: ");
        assert!(told.starts_with(&begins), "{told}");
    }
}

#[test]
fn names_of_nothing_are_refused() {
    let refused = |name| explained(&kicked(), 2, Some(name)).unwrap_err();
    assert_eq!(refused("mm9.9"), "the trace has no address space mm9.9");
    assert_eq!(refused("mm9"), "the trace has no address space mm9");
    let written = "is no address space; they are written mm3.1, or mm3 for the last in that slot";
    for name in ["nine", "mm", "mm3.", "mm-3", ""] {
        assert_eq!(refused(name), format!("{name} {written}"));
    }
    assert_eq!(refused("init_mm"), "the trace has no address space init_mm");
}
