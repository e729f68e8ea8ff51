//! The threads of a sequence: each waits for its turn and does its step.

use core::sync::atomic::{AtomicBool, Ordering};

use user::process::{self, Pid};
use user::sched::{self, CpuSet};
use user::thread;

use crate::control::{Actor, control};
use crate::seen::{self, Seen};
use crate::steps::{self, Op};

const FIRST_THREAD: u8 = 0;

/// Whether this process has its second thread.
static HAS_HELPER: AtomicBool = AtomicBool::new(false);

/// The first thread of `process`.
pub(crate) fn first_of(process: u8) -> Actor {
    Actor { process, thread: FIRST_THREAD }
}

/// Does the steps of `me` as they become due, and ends the process after
/// the last one. Returns in second threads, which have nothing left to do.
pub(crate) fn play(mut me: Actor) {
    go_home(me);
    while let Some((turn, step)) = control().due() {
        let op = Op::of(step);
        if step.actor == me {
            match op {
                Op::Fork => {
                    if let Some(child) = fork(first_of(step.page)) {
                        me = child;
                        go_home(me);
                        continue;
                    }
                }
                Op::Exit => process::exit_group(0),
                _ => control().done(step, steps::perform(step)),
            }
        } else if me.thread == FIRST_THREAD && op == Op::Exit && is_my_child(me, step.actor) {
            // The step is done when the child is gone altogether.
            control().done(step, reap());
        } else {
            let near = step.actor.process == me.process;
            if near && me.thread == FIRST_THREAD {
                start_helper(step.actor);
            }
            control().wait(turn, near);
        }
    }
    if me.thread == FIRST_THREAD {
        finish();
    }
}

fn go_home(me: Actor) {
    if let Err(errno) = sched::set_affinity(&CpuSet::only(control().cpu_of(me))) {
        control().fail(seen::ERRNO | errno.0 as Seen, 0);
    }
}

/// Does the fork that is due. In the new process, returns its actor.
fn fork(child: Actor) -> Option<Actor> {
    let (_, step) = control().due()?;
    match process::fork() {
        Ok(None) => {
            HAS_HELPER.store(false, Ordering::Relaxed);
            return Some(child);
        }
        Ok(Some(_)) => control().done(step, 0),
        Err(errno) => control().done(step, seen::ERRNO | errno.0 as Seen),
    }
    None
}

fn is_my_child(me: Actor, other: Actor) -> bool {
    other.process != me.process && control().head.parents[usize::from(other.process)] == me.process
}

/// Waits for the one child that ends.
fn reap() -> Seen {
    match process::wait_any() {
        Ok((Pid(_), status)) if status.success() => 0,
        Ok(_) => seen::BAD_END,
        Err(errno) => seen::ERRNO | errno.0 as Seen,
    }
}

fn start_helper(helper: Actor) {
    if HAS_HELPER.swap(true, Ordering::Relaxed) {
        return;
    }
    match thread::spawn(move || play(helper)) {
        // The thread ends with the process.
        Ok(thread) => core::mem::forget(thread),
        Err(errno) => control().fail(seen::ERRNO | errno.0 as Seen, 0),
    }
}

/// Waits for the children that are left, and ends.
fn finish() -> ! {
    while let Ok((_, status)) = process::wait_any() {
        if !status.success() {
            control().fail(seen::BAD_END, 0);
            process::exit_group(1);
        }
    }
    process::exit_group(0)
}
