//! Calls on signals.

use core::sync::atomic::Ordering;

use arch::exceptions::TrapFrame;

use super::processes::{find_process, find_thread};
use super::{FRAME_REPLACED, Result};
use crate::errno::Errno;
use crate::mm::heap;
use crate::process::signal::{self, Action, ERESTARTNOHAND, ERESTARTSYS, Info, LAST, UNBLOCKABLE};
use crate::process::{Process, current, current_thread, table, user_memory};
use crate::sync::WaitQueue;

/// Bytes of the kernel's signal masks.
const MASK_BYTES: u64 = 8;

/// A signal to send; none for 0, which only tests whether it could be sent.
pub(super) fn sendable(number: u64) -> Result<Option<u32>> {
    let number = number as u32;
    if number > LAST {
        return Err(Errno::EINVAL);
    }
    // Those that queue take memory that their receiver may never give back.
    if number >= signal::FIRST_REAL_TIME {
        heap::check_room(QUEUE_BYTES).map_err(|_| Errno::EAGAIN)?;
    }
    Ok((number != 0).then_some(number))
}

/// What one more signal can take on the heap: a full queue that is moved.
const QUEUE_BYTES: usize = 64 << 10;

pub(super) fn check_mask_bytes(bytes: u64) -> Result<()> {
    if bytes == MASK_BYTES { Ok(()) } else { Err(Errno::EINVAL) }
}

pub(super) fn kill(frame: &mut TrapFrame) -> Result {
    let [pid, number, ..] = frame.syscall_args();
    let me = current();
    let info = sendable(number).map(|signal| Some(Info::of_user(signal?, me.pid, false)));
    // Without a receiver the number does not matter, as in Linux.
    let sent = info.unwrap_or(None);
    let in_group = |group| move |process: &Process| process.group.load(Ordering::Relaxed) == group;
    let any = match pid as i32 {
        pid @ 1.. => {
            let process = find_process(pid as u32)?;
            if let Some(info) = sent {
                signal::send_to_process(&process, info);
            }
            true
        }
        0 => signal::send_to_all(in_group(me.group.load(Ordering::Relaxed)), sent),
        // All but init and the caller.
        -1 => signal::send_to_all(|process| process.pid > 1 && process.pid != me.pid, sent),
        group => signal::send_to_all(in_group(group.unsigned_abs()), sent),
    };
    if any { info.map(|_| 0) } else { Err(Errno::ESRCH) }
}

pub(super) fn tgkill(frame: &mut TrapFrame) -> Result {
    let [pid, tid, number, ..] = frame.syscall_args();
    let me = current().pid;
    send_to_thread(Some(pid as u32), tid as u32, number, |signal| Info::of_user(signal, me, true))
}

pub(super) fn tkill(frame: &mut TrapFrame) -> Result {
    let [tid, number, ..] = frame.syscall_args();
    let me = current().pid;
    send_to_thread(None, tid as u32, number, |signal| Info::of_user(signal, me, true))
}

/// Sends a signal with `info` to thread `tid`, of process `pid` if given.
pub(super) fn send_to_thread(
    pid: Option<u32>,
    tid: u32,
    number: u64,
    info: impl FnOnce(u32) -> Info,
) -> Result {
    let is_number = |id: u32| id.cast_signed() > 0;
    if !is_number(tid) || !pid.is_none_or(is_number) {
        return Err(Errno::EINVAL);
    }
    let in_process = |process: &Process| pid.is_none_or(|pid| process.pid == pid);
    let task = match find_thread(tid) {
        Ok(task) => task,
        // The first thread of a process is there until that is waited for.
        Err(_) if table::find(tid).is_some_and(|process| in_process(&process)) => {
            return sendable(number).map(|_| 0);
        }
        Err(errno) => return Err(errno),
    };
    if !task.user.as_ref().is_some_and(|thread| in_process(&thread.process)) {
        return Err(Errno::ESRCH);
    }
    match sendable(number)? {
        Some(signal) => signal::send_to_thread(&task, info(signal)).map(|()| 0),
        None => Ok(0),
    }
}

pub(super) fn rt_sigaction(frame: &mut TrapFrame) -> Result {
    let [number, new, old, bytes, ..] = frame.syscall_args();
    check_mask_bytes(bytes)?;
    let new: Option<Action> = if new == 0 { None } else { Some(user_memory::read(new)?) };
    let number = number as u32;
    if !(1..=LAST).contains(&number) || new.is_some() && signal::bit(number) & UNBLOCKABLE != 0 {
        return Err(Errno::EINVAL);
    }
    let handlers = current().handlers();
    let before = match new {
        None => handlers.get(number),
        Some(action) => handlers.set(number, action),
    };
    if new.is_some() && handlers.ignores(number) {
        signal::discard(&current(), number);
    }
    user_memory::write_unless_null(old, before).map(|()| 0)
}

pub(super) fn rt_sigprocmask(frame: &mut TrapFrame) -> Result {
    const SIG_BLOCK: u32 = 0;
    const SIG_UNBLOCK: u32 = 1;
    const SIG_SETMASK: u32 = 2;
    let [how, new, old, bytes, ..] = frame.syscall_args();
    check_mask_bytes(bytes)?;
    let blocked = current_thread().blocked.load(Ordering::Relaxed);
    if new != 0 {
        let mask: u64 = user_memory::read(new)?;
        signal::set_blocked(match how as u32 {
            SIG_BLOCK => blocked | mask,
            SIG_UNBLOCK => blocked & !mask,
            SIG_SETMASK => mask,
            _ => return Err(Errno::EINVAL),
        });
    }
    user_memory::write_unless_null(old, blocked).map(|()| 0)
}

pub(super) fn rt_sigpending(frame: &mut TrapFrame) -> Result {
    let [to, bytes, ..] = frame.syscall_args();
    if bytes > MASK_BYTES {
        return Err(Errno::EINVAL);
    }
    let thread = current_thread();
    let waiting = thread.waiting_signals() & thread.blocked.load(Ordering::Relaxed);
    // Old programs want less.
    user_memory::write_bytes(to, &waiting.to_be_bytes()[..bytes as usize]).map(|()| 0)
}

/// Makes `call`, which waits, and makes it again while it ends with [`ERESTARTNOHAND`]
/// and no handler runs. What it waits for was read before, so a deadline stays the same:
/// Linux's ERESTARTNOHAND, and ERESTART_RESTARTBLOCK without a block to keep. `call` owns
/// nothing, since the thread may end in between.
pub(super) fn wait_unless_handled(frame: &mut TrapFrame, call: impl Fn() -> Result + Copy) -> Result {
    loop {
        match call() {
            Err(ERESTARTNOHAND) if signal::interrupt(frame, None) => return Err(FRAME_REPLACED),
            Err(ERESTARTNOHAND) => {}
            result => return result,
        }
    }
}

pub(super) fn pause(frame: &mut TrapFrame) -> Result {
    let nobody = WaitQueue::new();
    wait_unless_handled(frame, || signal::wait(&nobody, || false).map_err(|_| ERESTARTNOHAND).map(|()| 0))
}

pub(super) fn rt_sigsuspend(frame: &mut TrapFrame) -> Result {
    let [mask, bytes, ..] = frame.syscall_args();
    check_mask_bytes(bytes)?;
    let mask: u64 = user_memory::read(mask)?;
    let thread = current_thread();
    let before = thread.blocked.load(Ordering::Relaxed);
    signal::set_blocked(mask);
    let nobody = WaitQueue::new();
    loop {
        let interrupted = signal::wait(&nobody, || false);
        debug_assert!(interrupted == Err(ERESTARTSYS));
        // The handler runs with the mask of the call, and returns to the old one.
        if signal::interrupt(frame, Some(before)) {
            return Err(FRAME_REPLACED);
        }
    }
}

pub(super) fn rt_sigreturn(frame: &mut TrapFrame) -> Result {
    match signal::sigreturn(frame) {
        Ok(()) => Err(FRAME_REPLACED),
        Err(_) => {
            signal::force_on_current(Info::of_kernel(signal::SIGSEGV));
            Err(FRAME_REPLACED)
        }
    }
}

pub(super) fn sigaltstack(frame: &mut TrapFrame) -> Result {
    let [new, old, ..] = frame.syscall_args();
    let (stack, stack_pointer) = (&current_thread().alternate_stack, frame.gpr(1));
    let before = stack.told(stack_pointer);
    if new != 0 {
        stack.set(user_memory::read(new)?, stack_pointer)?;
    }
    user_memory::write_unless_null(old, before).map(|()| 0)
}
