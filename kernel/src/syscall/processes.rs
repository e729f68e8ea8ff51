//! Calls on processes and threads.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use arch::exceptions::TrapFrame;

use super::accounting::to_rusage;
use super::{FRAME_REPLACED, Result};
use crate::errno::Errno;
use crate::memory::heap;
use crate::mm::user_memory::UserAddr;
use crate::process::clone::{self as cloning, CloneFlags, Request};
use crate::process::exec::exec;
use crate::process::exit::{self as exiting, Status};
use crate::process::wait::{self, Options, Which};
use crate::process::{ARGUMENTS_MAX, Arguments};
use crate::process::{Process, current, current_thread, session, table};
use crate::task::{TaskRef, registry};

pub(super) fn set_tid_address(address: u64) -> u32 {
    let thread = current_thread();
    thread.clear_child_tid.store(address, Ordering::Relaxed);
    thread.tid()
}

pub(super) fn clone(
    frame: &mut TrapFrame,
    flags: u64,
    stack: u64,
    parent_tid: u64,
    tls: u64,
    child_tid: u64,
) -> Result<u32> {
    /// The low byte: the signal at the child's end.
    const CSIGNAL: u64 = 0xff;
    let exit_signal = (flags & CSIGNAL) as u32;
    // There are no namespaces, and no descriptors of processes. Linux ignores the upper half.
    let flags = CloneFlags::from_bits(flags & 0xffff_ffff & !CSIGNAL).ok_or(Errno::EINVAL)?;
    let request = Request { flags, exit_signal, stack, parent_tid, child_tid, tls };
    cloning::clone(frame, &request)
}

pub(super) fn exit(code: u64) -> Result {
    exiting::exit_thread(Status::exited(code))
}

pub(super) fn exit_group(code: u64) -> Result {
    exiting::exit_group(Status::exited(code))
}

/// Bytes of heap for a few short strings, with the allocator's rounding.
const STRING_BYTES: usize = 4096;

pub(super) fn execve(
    frame: &mut TrapFrame,
    path: UserAddr,
    arguments: UserAddr,
    environment: UserAddr,
) -> Result {
    let path = path.read_path()?;
    let mut room = ARGUMENTS_MAX;
    let mut arguments = strings(arguments, &mut room)?;
    if arguments.is_empty() {
        // Programs that skip argv[0] would read the environment as arguments.
        arguments.push(Vec::new());
    }
    let passed = Arguments { arguments, environment: strings(environment, &mut room)? };
    let place = current().directory.lock().clone();
    *frame = exec(&place, &path, &passed)?;
    Err(FRAME_REPLACED)
}

/// The strings that a NULL-terminated array of pointers names. NULL is an empty one. Their bytes on
/// the new stack are subtracted from `room`; `E2BIG` if that is not enough.
fn strings(array: UserAddr, room: &mut usize) -> Result<Vec<Vec<u8>>> {
    let mut strings: Vec<Vec<u8>> = Vec::new();
    while !array.is_null() {
        let address: UserAddr = array.nth::<UserAddr>(strings.len()).read()?;
        if address.is_null() {
            break;
        }
        *room = room.checked_sub(size_of::<u64>()).ok_or(Errno::E2BIG)?;
        if strings.len() == strings.capacity() {
            heap::check_room(2 * strings.len() * size_of::<Vec<u8>>() + STRING_BYTES)?;
        }
        let string = address.read_string(*room, Errno::E2BIG)?;
        *room = room.saturating_sub(string.len() + 1);
        strings.push(string);
    }
    Ok(strings)
}

pub(super) fn wait4(pid: i32, status: UserAddr, options: u32, usage: UserAddr) -> Result<u32> {
    let options = Options::from_bits(options).ok_or(Errno::EINVAL)?;
    let which = match pid {
        i32::MIN => return Err(Errno::ESRCH),
        -1 => Which::Any,
        0 => Which::Group(current().group.load(Ordering::Relaxed)),
        pid @ 1.. => Which::Pid(pid as u32),
        group => Which::Group(group.unsigned_abs()),
    };
    let Some((pid, ended, used)) = wait::wait(which, options)? else { return Ok(0) };
    status.write_unless_null(ended.0)?;
    usage.write_unless_null(to_rusage(&used))?;
    Ok(pid)
}

/// The process that has `number`, or a thread of that number.
pub(super) fn find_process(number: u32) -> Result<Arc<Process>> {
    let of_thread = || Some(find_thread(number).ok()?.user.as_ref()?.process.clone());
    table::find(number).or_else(of_thread).ok_or(Errno::ESRCH)
}

/// The living thread that has `number`.
pub(super) fn find_thread(number: u32) -> Result<TaskRef> {
    // A task exists for a little longer than its process, which may have been waited for.
    let has_it = |task: &TaskRef| {
        task.user.as_ref().is_some_and(|thread| thread.tid() == number && !thread.process.is_dead())
    };
    // The thread that called exec has the number of its process, and its task another.
    let of_process = || table::find(number)?.thread(number);
    registry::find(number).filter(has_it).or_else(of_process).ok_or(Errno::ESRCH)
}

/// Runs `f` on the process that [`find_process`] finds; 0 is the caller's.
fn with_process<T>(number: u32, f: impl FnOnce(&Process) -> T) -> Result<T> {
    match number {
        0 => Ok(f(&current())),
        number => find_process(number).map(|process| f(&process)),
    }
}

pub(super) fn setpgid(pid: u32, group: u32) -> Result<()> {
    let pid = if pid == 0 { current().pid } else { pid };
    let group = if group == 0 { pid } else { group };
    if group.cast_signed() < 0 {
        return Err(Errno::EINVAL);
    }
    session::set_group(pid, group)
}

pub(super) fn getpgid(pid: u32) -> Result<u32> {
    with_process(pid, |process| process.group.load(Ordering::Relaxed))
}

pub(super) fn getsid(pid: u32) -> Result<u32> {
    with_process(pid, Process::session)
}
