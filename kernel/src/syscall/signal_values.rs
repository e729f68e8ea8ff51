//! Signals that carry a value, and taking them without a handler (sigqueue, sigtimedwait).

use arch::exceptions::TrapFrame;

use super::processes::find_process;
use super::signals::{check_mask_bytes, send_to_thread, sendable, wait_unless_handled};
use super::{Result, time};
use crate::errno::Errno;
use crate::mm::user_memory::UserAddr;
use crate::process::current_thread;
use crate::process::signal::{self, ERESTARTNOHAND, Info, LinuxInfo, UNBLOCKABLE};
use crate::task::WaitQueue;

/// Reads the program's `siginfo_t` at `from`, for a signal to thread `tid`.
///
/// # Errors
/// `EPERM` if another thread would take it for one of the kernel's or of kill.
fn read_info(from: UserAddr, tid: u32) -> Result<impl FnOnce(u32) -> Info> {
    let from: LinuxInfo = from.read()?;
    if tid != current_thread().tid() && !from.may_be_sent() {
        return Err(Errno::EPERM);
    }
    Ok(move |signal| Info::of_program(signal, &from))
}

pub(super) fn rt_sigqueueinfo(pid: u32, number: u32, from: UserAddr) -> Result<()> {
    let info = read_info(from, pid)?;
    let process = find_process(pid)?;
    match sendable(number)? {
        Some(signal) => signal::queue_for_process(&process, info(signal)),
        None => Ok(()),
    }
}

pub(super) fn rt_tgsigqueueinfo(pid: u32, tid: u32, number: u32, from: UserAddr) -> Result<()> {
    let info = read_info(from, tid)?;
    send_to_thread(Some(pid), tid, number, info)
}

pub(super) fn rt_sigtimedwait(
    frame: &mut TrapFrame,
    signals: UserAddr,
    to: UserAddr,
    timeout: UserAddr,
    bytes: u64,
) -> Result {
    check_mask_bytes(bytes)?;
    let signals = signals.read::<u64>()? & !UNBLOCKABLE;
    let deadline_tb = time::read_deadline(timeout, None)?;
    wait_unless_handled(frame, || {
        let info = take(signals, deadline_tb)?;
        if !to.is_null() {
            to.write_from(&info.to_linux())?;
        }
        Ok(u64::from(info.signal))
    })
}

/// Takes one of `signals`, which the program blocks. Waits for one until the deadline, if any; then
/// `EAGAIN`.
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
