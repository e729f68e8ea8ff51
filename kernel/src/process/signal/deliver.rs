//! Signals on the way to user mode.

use core::sync::atomic::Ordering;

use arch::exceptions::TrapFrame;
use arch::irqflags;
use kcore::machine::IrqsOff;

use super::action::{SA_NODEFER, SA_RESTART};
use super::{Action, Default, Info, bit, default_of, frame, recalculate};
use crate::errno::Errno;
use crate::process::exit::{self, Status};
use crate::process::{current, current_thread};
use crate::task;

/// Bytes of the `sc` instruction.
const SYSTEM_CALL_BYTES: u64 = 4;

/// The outcome of a system call that a signal interrupted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Call {
    /// There was none, or it has its result.
    Done,
    /// It starts over, unless a handler without SA_RESTART runs.
    StartsOver,
    /// It starts over in any case.
    AlwaysStartsOver,
    /// It waits on, unless a handler runs.
    WaitsOn,
}

/// The way to user mode with the work flag set: schedules if asked to, ends the
/// thread if it is to end, and has it take its signals, interrupts on.
pub(crate) fn return_to_user(frame: &mut TrapFrame, off: &mut IrqsOff) {
    if task::prepare_user_return(off) != 0 {
        irqflags::enabled_while(off, || take_all(frame, Call::Done, None));
    }
}

/// Ends the thread or has it take its signals, for a system call that ended with
/// [`ERESTARTSYS`](super::ERESTARTSYS).
#[cold]
pub(crate) fn restart_or_interrupt(frame: &mut TrapFrame) {
    take_all(frame, Call::StartsOver, None);
}

/// [`restart_or_interrupt`] for a call that ended with [`ERESTARTNOINTR`](super::ERESTARTNOINTR).
#[cold]
pub(crate) fn restart(frame: &mut TrapFrame) {
    take_all(frame, Call::AlwaysStartsOver, None);
}

/// Ends the thread or has it take its signals, in the middle of a system call that waits. Returns
/// whether a handler runs: then `frame` is the handler's, and the call has ended with `EINTR`;
/// otherwise it has not ended. With `before`, the first handler returns to that mask, not to the
/// present one. The thread may end here: nothing on the stack may need to be dropped.
#[cold]
pub(crate) fn interrupt(frame: &mut TrapFrame, before: Option<u64>) -> bool {
    take_all(frame, Call::WaitsOn, before)
}

/// Returns whether a handler runs; the first one returns to the mask `before`, if given.
fn take_all(frame: &mut TrapFrame, mut call: Call, mut before: Option<u64>) -> bool {
    let mut handled = false;
    let (process, thread) = (current(), current_thread());
    if task::current().killed() {
        exit::exit_thread(process.status());
    }
    loop {
        let blocked = thread.blocked.load(Ordering::Relaxed);
        let Some(info) = thread.take_signal(blocked) else { break };
        let action = process.handlers().take(info.signal);
        if action.is_handler() {
            end_call(frame, call, Some(&action));
            call = Call::Done;
            handled = true;
            run_handler(frame, &info, &action, before.take());
        } else if !process.handlers().ignores(info.signal) && default_of(info.signal) == Default::End {
            exit::exit_group(Status::signaled(info.signal));
        }
    }
    // The program does not notice signals without a handler.
    end_call(frame, call, None);
    recalculate();
    handled
}

/// Gives an interrupted call its outcome; `action` is the handler that runs, if any.
fn end_call(frame: &mut TrapFrame, call: Call, action: Option<&Action>) {
    let starts_over = match call {
        Call::Done => return,
        Call::WaitsOn if action.is_none() => return,
        Call::WaitsOn => false,
        Call::StartsOver => action.is_none_or(|action| action.flags & SA_RESTART != 0),
        Call::AlwaysStartsOver => true,
    };
    if starts_over {
        frame.nip -= SYSTEM_CALL_BYTES;
        frame.set_gpr(3, frame.orig_gpr3);
    } else {
        frame.set_result(-i64::from(Errno::EINTR.0));
    }
}

/// Has the program go on in the handler, which returns to the mask `before`, or to the present one.
fn run_handler(frame: &mut TrapFrame, info: &Info, action: &Action, before: Option<u64>) {
    let thread = current_thread();
    let blocked = thread.blocked.load(Ordering::Relaxed);
    if frame::push(frame, info, action, before.unwrap_or(blocked)).is_err() {
        // Without a stack for the handler the signal ends the process.
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
