//! The table of system calls while they are traced: every row records its call.

use arch::exceptions::{NR_SYSTEM_CALLS, Outcome, SystemCalls, TrapFrame};
use trace_format::{Body, Kind};

use super::TABLE;
use crate::trace;

/// The table for the entry code. Only the traced one costs what the records cost.
pub(crate) fn calls(traced: bool) -> &'static SystemCalls {
    static TRACED: SystemCalls = [row; NR_SYSTEM_CALLS + 1];
    if traced { &TRACED } else { &TABLE }
}

extern "C" fn row(a: u64, b: u64, c: u64, d: u64, e: u64, f: u64, frame: &mut TrapFrame) -> Outcome {
    let number = frame.syscall_number();
    let note = |sub, mm, arg| {
        trace::note!(Kind::Syscall, Body { sub, other: number as u32, mm, arg, ..Body::new(Kind::Syscall) });
    };
    note(0, b, a);
    let outcome = TABLE[NR_SYSTEM_CALLS.min(number as usize)](a, b, c, d, e, f, frame);
    note(1, outcome.errno, outcome.value);
    outcome
}
