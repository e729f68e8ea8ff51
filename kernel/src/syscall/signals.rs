//! Calls on signals.

use core::sync::atomic::Ordering;

use arch::exceptions::TrapFrame;

use super::processes::{find_process, find_thread};
use super::{FRAME_REPLACED, Result};
use crate::errno::Errno;
use crate::memory::heap;
use crate::mm::user_memory::UserAddr;
use crate::process::signal::{self, Action, ERESTARTNOHAND, ERESTARTSYS, Handlers, Info, LAST, UNBLOCKABLE};
use crate::process::{Process, current, current_thread, table};
use crate::task::WaitQueue;

/// Bytes of the kernel's signal masks.
const MASK_BYTES: u64 = 8;

/// A signal to send; none for 0, which only tests whether it could be sent.
pub(super) fn sendable(number: u32) -> Result<Option<u32>> {
    if number > LAST {
        return Err(Errno::EINVAL);
    }
    // Real-time signals queue up in memory that their receiver may never give back.
    if number >= signal::FIRST_REAL_TIME {
        heap::check_room(QUEUE_BYTES).map_err(|_| Errno::EAGAIN)?;
    }
    Ok((number != 0).then_some(number))
}

/// Most bytes of heap for one more signal: a full queue that is moved.
const QUEUE_BYTES: usize = 64 << 10;

pub(super) fn check_mask_bytes(bytes: u64) -> Result<()> {
    if bytes == MASK_BYTES { Ok(()) } else { Err(Errno::EINVAL) }
}

pub(super) fn kill(pid: i32, number: u32) -> Result<()> {
    let me = current();
    let info = sendable(number).map(|signal| Some(Info::of_user(signal?, me.pid, false)));
    // Without a receiver the number does not matter, as in Linux.
    let sent = info.unwrap_or(None);
    let in_group = |group| move |process: &Process| process.group.load(Ordering::Relaxed) == group;
    let any = match pid {
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
    if any { info.map(drop) } else { Err(Errno::ESRCH) }
}

pub(super) fn tgkill(pid: Option<u32>, tid: u32, number: u32) -> Result<()> {
    let me = current().pid;
    send_to_thread(pid, tid, number, |signal| Info::of_user(signal, me, true))
}

/// Sends a signal with `info` to thread `tid`, of process `pid` if given.
pub(super) fn send_to_thread(
    pid: Option<u32>,
    tid: u32,
    number: u32,
    info: impl FnOnce(u32) -> Info,
) -> Result<()> {
    let is_number = |id: u32| id.cast_signed() > 0;
    if !is_number(tid) || !pid.is_none_or(is_number) {
        return Err(Errno::EINVAL);
    }
    let in_process = |process: &Process| pid.is_none_or(|pid| process.pid == pid);
    let task = match find_thread(tid) {
        Ok(task) => task,
        // The number of a process's first thread stays valid until the process is waited for.
        Err(_) if table::find(tid).is_some_and(|process| in_process(&process)) => {
            return sendable(number).map(drop);
        }
        Err(errno) => return Err(errno),
    };
    if !task.user.as_ref().is_some_and(|thread| in_process(&thread.process)) {
        return Err(Errno::ESRCH);
    }
    match sendable(number)? {
        Some(signal) => signal::send_to_thread(&task, info(signal)),
        None => Ok(()),
    }
}

pub(super) fn rt_sigaction(number: u32, new: UserAddr, old: UserAddr, bytes: u64) -> Result<()> {
    check_mask_bytes(bytes)?;
    let new: Option<Action> = new.read_unless_null()?;
    if !(1..=LAST).contains(&number) || new.is_some() && signal::bit(number) & UNBLOCKABLE != 0 {
        return Err(Errno::EINVAL);
    }
    if new.is_some() {
        heap::check_room(Handlers::CHANGE_BYTES)?;
    }
    let handlers = current().handlers();
    let before = match new {
        None => handlers.get(number),
        Some(action) => handlers.set(number, action),
    };
    if new.is_some() && handlers.ignores(number) {
        signal::discard(&current(), number);
    }
    old.write_unless_null(before)
}

pub(super) fn rt_sigprocmask(how: u32, new: UserAddr, old: UserAddr, bytes: u64) -> Result<()> {
    const SIG_BLOCK: u32 = 0;
    const SIG_UNBLOCK: u32 = 1;
    const SIG_SETMASK: u32 = 2;
    check_mask_bytes(bytes)?;
    let blocked = current_thread().blocked.load(Ordering::Relaxed);
    if let Some(mask) = new.read_unless_null::<u64>()? {
        signal::set_blocked(match how {
            SIG_BLOCK => blocked | mask,
            SIG_UNBLOCK => blocked & !mask,
            SIG_SETMASK => mask,
            _ => return Err(Errno::EINVAL),
        });
    }
    old.write_unless_null(blocked)
}

pub(super) fn rt_sigpending(to: UserAddr, bytes: usize) -> Result<()> {
    if bytes > MASK_BYTES as usize {
        return Err(Errno::EINVAL);
    }
    let thread = current_thread();
    let waiting = thread.waiting_signals() & thread.blocked.load(Ordering::Relaxed);
    // Old programs have a shorter mask.
    to.write_bytes(&waiting.to_be_bytes()[..bytes])
}

/// Makes `call`, which waits, and makes it again while it ends with [`ERESTARTNOHAND`] and no
/// handler runs. The arguments were read before, so the deadline stays: this is Linux's
/// ERESTARTNOHAND, and ERESTART_RESTARTBLOCK without a block to keep. `call` owns nothing, since
/// the thread may end in between.
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

pub(super) fn rt_sigsuspend(frame: &mut TrapFrame, mask: UserAddr, bytes: u64) -> Result {
    check_mask_bytes(bytes)?;
    let mask: u64 = mask.read()?;
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

pub(super) fn sigaltstack(stack_pointer: u64, new: UserAddr, old: UserAddr) -> Result<()> {
    let stack = &current_thread().alternate_stack;
    let before = stack.told(stack_pointer);
    if let Some(new) = new.read_unless_null()? {
        stack.set(new, stack_pointer)?;
    }
    old.write_unless_null(before)
}
