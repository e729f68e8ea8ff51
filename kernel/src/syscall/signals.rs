//! Calls on signals.

use core::sync::atomic::Ordering;

use powerpc64::exceptions::TrapFrame;

use super::{FRAME_REPLACED, Result};
use crate::errno::Errno;
use crate::mm::heap;
use crate::process::signal::{
    self, Action, AlternateStack, ERESTARTNOHAND, ERESTARTSYS, Info, LAST, SS_DISABLE, SS_ONSTACK,
    UNBLOCKABLE,
};
use crate::process::{Process, current, current_thread, table, user_memory};
use crate::sync::WaitQueue;
use crate::task::{self, registry};

/// Bytes of the kernel's signal masks.
const MASK_BYTES: u64 = 8;

/// A signal's number; 0 only tests whether it could be sent.
fn signal_or_test(number: u64) -> Result<u32> {
    let number = number as u32;
    if number > LAST {
        return Err(Errno::EINVAL);
    }
    // Those that queue take memory that their receiver may never give back.
    if number >= signal::FIRST_REAL_TIME {
        heap::check_room(QUEUE_BYTES).map_err(|_| Errno::EAGAIN)?;
    }
    Ok(number)
}

/// What one more signal can take on the heap: a full queue that is moved.
const QUEUE_BYTES: usize = 64 << 10;

fn check_mask_bytes(bytes: u64) -> Result<()> {
    if bytes == MASK_BYTES { Ok(()) } else { Err(Errno::EINVAL) }
}

pub(super) fn kill(frame: &mut TrapFrame) -> Result {
    let [pid, number, ..] = frame.syscall_args();
    let number = signal_or_test(number)?;
    let me = current();
    let info = (number != 0).then(|| Info::of_user(number, me.pid, false));
    let in_group = |group| move |process: &Process| process.group.load(Ordering::Relaxed) == group;
    let any = match pid as i32 {
        pid @ 1.. => match (table::find(pid as u32), info) {
            (Some(process), Some(info)) => {
                signal::send_to_process(&process, info);
                true
            }
            (process, _) => process.is_some(),
        },
        0 => signal::send_to_all(in_group(me.group.load(Ordering::Relaxed)), info),
        // All but init and the caller.
        -1 => signal::send_to_all(|process| process.pid > 1 && process.pid != me.pid, info),
        group => signal::send_to_all(in_group(group.unsigned_abs()), info),
    };
    if any { Ok(0) } else { Err(Errno::ESRCH) }
}

pub(super) fn tgkill(frame: &mut TrapFrame) -> Result {
    let [pid, tid, number, ..] = frame.syscall_args();
    send_to_thread(Some(pid as u32), tid as u32, number)
}

pub(super) fn tkill(frame: &mut TrapFrame) -> Result {
    let [tid, number, ..] = frame.syscall_args();
    send_to_thread(None, tid as u32, number)
}

fn send_to_thread(pid: Option<u32>, tid: u32, number: u64) -> Result {
    let number = signal_or_test(number)?;
    let me = current_thread();
    let task =
        if tid == me.tid() { task::current().to_ref() } else { registry::find(tid).ok_or(Errno::ESRCH)? };
    let thread = task.user.as_ref().ok_or(Errno::ESRCH)?;
    if pid.is_some_and(|pid| pid != thread.process.pid) {
        return Err(Errno::ESRCH);
    }
    if number != 0 {
        signal::send_to_thread(&task, Info::of_user(number, me.process.pid, true));
    }
    Ok(0)
}

pub(super) fn rt_sigaction(frame: &mut TrapFrame) -> Result {
    let [number, new, old, bytes, ..] = frame.syscall_args();
    check_mask_bytes(bytes)?;
    let number = match signal_or_test(number)? {
        0 => return Err(Errno::EINVAL),
        number => number,
    };
    let new: Option<Action> = if new == 0 { None } else { Some(user_memory::read(new)?) };
    if new.is_some() && signal::bit(number) & UNBLOCKABLE != 0 {
        return Err(Errno::EINVAL);
    }
    let handlers = &current().handlers;
    user_memory::write_unless_null(old, handlers.get(number))?;
    if let Some(action) = new {
        handlers.set(number, action);
        if handlers.ignores(number) {
            signal::discard(current(), number);
        }
    }
    Ok(0)
}

pub(super) fn rt_sigprocmask(frame: &mut TrapFrame) -> Result {
    const SIG_BLOCK: u64 = 0;
    const SIG_UNBLOCK: u64 = 1;
    const SIG_SETMASK: u64 = 2;
    let [how, new, old, bytes, ..] = frame.syscall_args();
    check_mask_bytes(bytes)?;
    let blocked = current_thread().blocked.load(Ordering::Relaxed);
    if new != 0 {
        let mask: u64 = user_memory::read(new)?;
        signal::set_blocked(match how {
            SIG_BLOCK => blocked | mask,
            SIG_UNBLOCK => blocked & !mask,
            SIG_SETMASK => mask,
            _ => return Err(Errno::EINVAL),
        });
    }
    user_memory::write_unless_null(old, blocked).map(|()| 0)
}

pub(super) fn rt_sigpending(frame: &mut TrapFrame) -> Result {
    let [to, ..] = frame.syscall_args();
    let thread = current_thread();
    let waiting = thread.signals.set() | thread.process.signals.set();
    user_memory::write(to, waiting & thread.blocked.load(Ordering::Relaxed)).map(|()| 0)
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
    const MIN_BYTES: u64 = 2048;
    let now = signal::alternate_stack(frame.gpr(1));
    if new != 0 {
        let wanted: AlternateStack = user_memory::read(new)?;
        if now.flags == SS_ONSTACK {
            return Err(Errno::EPERM);
        }
        let (base, size) = match wanted.flags {
            SS_DISABLE => (0, 0),
            // Asking for the stack to be in use says no more than 0, as in Linux.
            0 | SS_ONSTACK if wanted.size < MIN_BYTES => return Err(Errno::ENOMEM),
            0 | SS_ONSTACK => (wanted.base, wanted.size),
            _ => return Err(Errno::EINVAL),
        };
        let [stored_base, stored_size] = &current_thread().alternate_stack;
        stored_base.store(base, Ordering::Relaxed);
        stored_size.store(size, Ordering::Relaxed);
    }
    user_memory::write_unless_null(old, now).map(|()| 0)
}
