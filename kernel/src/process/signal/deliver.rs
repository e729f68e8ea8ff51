//! Signals on the way to user mode.

use core::sync::atomic::Ordering;

use powerpc64::exceptions::TrapFrame;
use powerpc64::irqflags;

use super::action::{SA_NODEFER, SA_RESTART};
use super::{Action, Default, Info, bit, default_of, frame, recalculate};
use crate::errno::Errno;
use crate::process::exit::{self, Status};
use crate::process::{current, current_thread};
use crate::task;

/// Bytes of the `sc` instruction.
const SYSTEM_CALL_BYTES: u64 = 4;

/// What is to be done with a system call that a signal interrupted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Call {
    /// There was none, or it has its result.
    Done,
    /// It starts over, unless a handler runs that does not want that.
    StartsOver,
    /// It starts over in any case.
    AlwaysStartsOver,
}

/// The way to user mode with the work flag set: schedules if asked to, ends the
/// thread if it is to end, and has it take its signals. Interrupts off, on return
/// too; on meanwhile.
pub(crate) fn return_to_user(frame: &mut TrapFrame) {
    if task::prepare_user_return() != 0 {
        irqflags::enable();
        take_all(frame, Call::Done, None);
        irqflags::disable();
    }
}

/// Ends the thread or has it take its signals, for a system call that ended with
/// [`ERESTARTSYS`](super::ERESTARTSYS).
#[cold]
pub(crate) fn restart_or_interrupt(frame: &mut TrapFrame) {
    take_all(frame, Call::StartsOver, None);
}

/// As [`restart_or_interrupt`], for one that ended with
/// [`ERESTARTNOINTR`](super::ERESTARTNOINTR).
#[cold]
pub(crate) fn restart(frame: &mut TrapFrame) {
    take_all(frame, Call::AlwaysStartsOver, None);
}

/// As on the way to user mode, for rt_sigsuspend: handlers return to the mask
/// `before`, not to the present one.
pub(crate) fn take_with_mask(frame: &mut TrapFrame, before: u64) {
    take_all(frame, Call::Done, Some(before));
}

fn take_all(frame: &mut TrapFrame, mut call: Call, mut before: Option<u64>) {
    let (process, thread) = (current(), current_thread());
    if task::current().killed() {
        exit::exit_thread(process.status());
    }
    loop {
        let blocked = thread.blocked.load(Ordering::Relaxed);
        let Some(info) = thread.signals.take(blocked).or_else(|| process.signals.take(blocked)) else {
            break;
        };
        let action = process.handlers.take(info.signal);
        if action.is_handler() {
            end_call(frame, call, action.flags & SA_RESTART != 0);
            call = Call::Done;
            run_handler(frame, &info, &action, before.take());
        } else if !process.handlers.ignores(info.signal) && default_of(info.signal) == Default::End {
            exit::exit_group(Status::signaled(info.signal));
        }
    }
    // No handler ran: the program does not notice.
    end_call(frame, call, true);
    if let Some(before) = before {
        thread.blocked.store(before, Ordering::Relaxed);
    }
    recalculate();
}

/// Gives an interrupted call its outcome.
fn end_call(frame: &mut TrapFrame, call: Call, start_over: bool) {
    match (call, start_over) {
        (Call::Done, _) => {}
        (Call::StartsOver, true) | (Call::AlwaysStartsOver, _) => {
            frame.nip -= SYSTEM_CALL_BYTES;
            frame.set_gpr(3, frame.orig_gpr3);
        }
        (Call::StartsOver, false) => frame.set_result(-i64::from(Errno::EINTR.0)),
    }
}

/// Has the program go on in the handler, which returns to the mask `before`, or the
/// present one.
fn run_handler(frame: &mut TrapFrame, info: &Info, action: &Action, before: Option<u64>) {
    let thread = current_thread();
    let blocked = thread.blocked.load(Ordering::Relaxed);
    if frame::push(frame, info, action, before.unwrap_or(blocked)).is_err() {
        // No stack to run it on: as if there were no handler.
        crate::println!(
            "{}: pid {}: no stack for the handler of {}",
            task::current().name(),
            current().pid,
            super::name(info.signal)
        );
        exit::exit_group(Status::signaled(super::SIGSEGV));
    }
    let itself = if action.flags & SA_NODEFER == 0 { bit(info.signal) } else { 0 };
    let blocked = (blocked | action.mask | itself) & !super::UNBLOCKABLE;
    thread.blocked.store(blocked, Ordering::Relaxed);
}
