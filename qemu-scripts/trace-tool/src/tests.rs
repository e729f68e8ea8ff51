//! Traces by hand, for the tests.

use std::collections::HashMap;

use trace_format::{Body, Group, Kind, Mm, Operation, Record, Why};

use crate::events::Trace;

pub const INIT: u64 = Mm::INIT.0;
pub const MM: u64 = 1 << 32 | 3;
/// Of a switch: the arms.
pub const USER_KERNEL: u8 = 0;
pub const KERNEL_USER: u8 = 2;
/// The operation of a shoot.
pub const SHOOT: u8 = Operation::Shoot as u8;

pub type At = (usize, Body);

pub fn about(kind: Kind, mm: u64) -> Body {
    Body::about(kind, mm)
}

pub fn switch(sub: u8, from: u64, to: u64) -> Body {
    Body { sub, other: 7, arg: to, ..about(Kind::Switch, from) }
}

pub fn call(kind: Kind, cpu: u64) -> Body {
    Body { sub: SHOOT, other: 1, arg: cpu, ..about(kind, MM) }
}

pub fn end(mm: u64, why: Why) -> Body {
    Body { sub: why as u8, ..about(Kind::End, mm) }
}

pub fn users(sub: u8) -> Body {
    Body { sub, other: 8, ..about(Kind::Users, MM) }
}

pub fn count(sub: u8) -> Body {
    Body { kind: Kind::Count, ..users(sub) }
}

pub fn mask(mm: u64, sub: u8) -> Body {
    Body { sub, ..about(Kind::Mask, mm) }
}

/// Two CPUs come; CPU 1 runs a task of an mm and goes idle, lazy on it; CPU 0 shoots it and frees
/// the mm.
pub fn right() -> Vec<At> {
    let comes = |cpu| {
        [mask(INIT, 1), about(Kind::Load, INIT), Body { sub: 1, ..Body::new(Kind::Cpu) }]
            .map(|body| (cpu, body))
    };
    let mut steps: Vec<At> = [comes(0), comes(1)].concat();
    steps.extend([
        (0, about(Kind::Created, MM)),
        (1, switch(KERNEL_USER, INIT, MM)),
        (1, mask(MM, 1)),
        (1, about(Kind::Load, MM)),
        (1, about(Kind::Leave, INIT)),
        (1, about(Kind::End, INIT)),
        (1, switch(USER_KERNEL, MM, 0)),
        (1, about(Kind::Borrow, MM)),
        (0, users(1)),
        (0, about(Kind::Zombie, MM)),
        (0, about(Kind::FlushBegins, MM)),
        (0, about(Kind::FlushGlobal, MM)),
        (0, count(2)),
        (0, about(Kind::Dying, MM)),
        (0, Body { arg: 1 << 1, ..about(Kind::Shoot, MM) }),
        (0, call(Kind::Posted, 0)),
        (0, call(Kind::Sent, 1)),
        (1, Body::new(Kind::Interrupt)),
        (1, call(Kind::Taken, 0)),
        (1, about(Kind::Load, INIT)),
        (1, about(Kind::Leave, MM)),
        (1, end(MM, Why::Shoot)),
        (1, Body { other: 1, ..Body::new(Kind::Answered) }),
        (0, call(Kind::Done, 0)),
        (0, about(Kind::Dead, MM)),
        (0, about(Kind::Freed, MM)),
        (0, Body::new(Kind::Report)),
        (0, Body { sub: 1, ..Body::new(Kind::Report) }),
    ]);
    steps
}

/// The trace of `steps`, one microsecond apart, each change of a count with the step after it.
pub fn trace(steps: &[At]) -> Trace {
    let mut trace = Trace {
        events: Vec::new(),
        cpus: 2,
        ticks: 1_000_000,
        policy: 2,
        overrun: vec![0; 2],
        groups: Group::EVERY,
        from_boot: true,
        names: HashMap::new(),
    };
    let mut time = 1;
    let mut record = |number, cpu, body: Body| {
        let record = (cpu, number, Record { time, body });
        time += u64::from(!matches!(body.kind, Kind::Users | Kind::Count));
        record
    };
    trace.fill((1..).zip(steps).map(|(number, &(cpu, body))| record(number, cpu, body)).collect());
    trace
}
