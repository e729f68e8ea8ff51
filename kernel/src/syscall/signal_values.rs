//! Signals that carry a value, and taking them without a handler (sigqueue, sigtimedwait).

use arch::exceptions::TrapFrame;

use super::processes::find_process;
use super::signals::{check_mask_bytes, send_to_thread, sendable, wait_unless_handled};
use super::{Result, time};
use crate::errno::Errno;
use crate::process::signal::{self, ERESTARTNOHAND, Info, LinuxInfo, UNBLOCKABLE};
use crate::process::{current_thread, user_memory};
use crate::sync::WaitQueue;

/// What the program has at `from` of a signal that it sends to thread `tid`.
///
/// # Errors
/// `EPERM` if others would believe that the kernel or kill had sent it.
fn read_info(from: u64, tid: u64) -> Result<impl FnOnce(u32) -> Info> {
    let from: LinuxInfo = user_memory::read(from)?;
    if tid as u32 != current_thread().tid() && !from.may_be_sent() {
        return Err(Errno::EPERM);
    }
    Ok(move |signal| Info::of_program(signal, &from))
}

pub(super) fn rt_sigqueueinfo(frame: &mut TrapFrame) -> Result {
    let [pid, number, from, ..] = frame.syscall_args();
    let info = read_info(from, pid)?;
    let process = find_process(pid as u32)?;
    match sendable(number)? {
        Some(signal) => signal::queue_for_process(&process, info(signal)).map(|()| 0),
        None => Ok(0),
    }
}

pub(super) fn rt_tgsigqueueinfo(frame: &mut TrapFrame) -> Result {
    let [pid, tid, number, from, ..] = frame.syscall_args();
    let info = read_info(from, tid)?;
    send_to_thread(Some(pid as u32), tid as u32, number, info)
}

pub(super) fn rt_sigtimedwait(frame: &mut TrapFrame) -> Result {
    let [signals, to, timeout, bytes, ..] = frame.syscall_args();
    check_mask_bytes(bytes)?;
    let signals = user_memory::read::<u64>(signals)? & !UNBLOCKABLE;
    let deadline_tb = time::read_deadline(timeout, None)?;
    wait_unless_handled(frame, || {
        let info = take(signals, deadline_tb)?;
        if to != 0 {
            user_memory::write_from(to, &info.to_linux())?;
        }
        Ok(u64::from(info.signal))
    })
}

/// Takes one of `signals`, which the program blocks, and waits for it until the deadline, if
/// any: then `EAGAIN`.
fn take(signals: u64, deadline_tb: Option<u64>) -> Result<Info> {
    let thread = current_thread();
    if let Some(info) = thread.take_signal(!signals) {
        return Ok(info);
    }
    let nobody = WaitQueue::new();
    let waits = || thread.waiting_signals() & signals != 0;
    signal::set_awaited(signals);
    let in_time = match deadline_tb {
        None => signal::wait(&nobody, waits).map(|()| true),
        Some(deadline_tb) => signal::wait_deadline(&nobody, deadline_tb, waits),
    };
    signal::set_awaited(0);
    match thread.take_signal(!signals) {
        Some(info) => Ok(info),
        None if in_time == Ok(false) => Err(Errno::EAGAIN),
        // Another thread has taken it, or another signal waits.
        None => Err(ERESTARTNOHAND),
    }
}
