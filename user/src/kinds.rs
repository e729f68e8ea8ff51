//! Test programs of many small checks, each in a child of its own, so that neither its
//! leftovers nor its end touch the next.

use crate::process::{self, Status};
use crate::sys::{Errno, syscall};
use crate::verdict::{Context, Verdict, child_ends};
use crate::{Env, ensure, println};

/// A name, and the check.
pub type Kind = (&'static str, fn() -> Verdict);

/// The longest that a check may take, in seconds. After that it is taken to hang.
const LIMIT_S: usize = 20;

/// Makes all checks, or the one that the first argument names.
///
/// # Errors
/// The number of failed checks; or the failure, of a named one.
pub fn run(env: &Env, kinds: &[Kind]) -> Verdict {
    if let Some(name) = env.arg(1) {
        let kind = kinds.iter().find(|kind| kind.0 == name);
        return kind.ok_or(name).context("no such kind")?.1();
    }
    let mut bad = 0;
    for &(name, check) in kinds {
        if let Err(why) = child_ends(name, Status::exit(0), || status_of(name, check)) {
            println!("{why}");
            bad += 1;
        }
    }
    ensure!(bad == 0, "{bad} kinds went wrong");
    Ok(())
}

/// One check, in a child; its exit status.
fn status_of(name: &str, check: fn() -> Verdict) -> i32 {
    const ALARM: usize = 27;
    // Ends the child in a kernel where the check would hang.
    let _ = call(ALARM, [LIMIT_S, 0, 0, 0, 0, 0]);
    let verdict = check();
    match &verdict {
        Ok(()) => println!("{name}: as it should be"),
        Err(why) => println!("{name}: {why}"),
    }
    i32::from(verdict.is_err())
}

/// A call by its number, for checks of the call itself. The kernel uses the memory that
/// the arguments point to, which lives, or refuses it.
///
/// # Errors
/// The kernel's error number.
pub fn call(number: usize, args: [usize; 6]) -> Result<usize, Errno> {
    // SAFETY: the checks pass memory of their own.
    unsafe { syscall(number, args) }
}

/// Checks a call's answer to each of several arguments.
///
/// # Errors
/// The first answer that differs.
pub fn answers(number: usize, cases: &[(&str, [usize; 6], Result<usize, Errno>)]) -> Verdict {
    for (what, args, expected) in cases {
        let answer = call(number, *args);
        ensure!(answer == *expected, "{what}: {answer:?}, not {expected:?}");
    }
    Ok(())
}

/// Waits, by yielding, until `done`, for ten seconds at most.
///
/// # Errors
/// `what` never came.
pub fn eventually(what: &str, mut done: impl FnMut() -> bool) -> Verdict {
    let start = crate::time::now();
    while !done() {
        ensure!(crate::time::now() - start < core::time::Duration::from_secs(10), "{what}: never");
        crate::sched::yield_now();
    }
    Ok(())
}

/// Checks how a child ends.
///
/// # Errors
/// `child` is an error, or the child ends otherwise.
pub fn ends_with(what: &str, expected: Status, child: Result<process::Pid, Errno>) -> Verdict {
    let status = process::wait(child.context(what)?).context("wait4")?.without_core();
    ensure!(status == expected, "{what}: {status}, not {expected}");
    Ok(())
}
