//! Calls on processes and threads.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use arch::exceptions::TrapFrame;

use super::accounting::to_rusage;
use super::{FRAME_REPLACED, Result};
use crate::errno::Errno;
use crate::mm::heap;
use crate::process::clone::{self as cloning, CloneFlags, Request};
use crate::process::exec::exec;
use crate::process::exit::{self as exiting, Status};
use crate::process::wait::{self, Options, Which};
use crate::process::{ARGUMENTS_MAX, Arguments};
use crate::process::{Process, current, current_thread, session, table, user_memory};
use crate::task::{TaskRef, registry};

pub(super) fn getpid(_: &mut TrapFrame) -> Result {
    Ok(u64::from(current().pid))
}

pub(super) fn gettid(_: &mut TrapFrame) -> Result {
    Ok(u64::from(current_thread().tid()))
}

pub(super) fn getppid(_: &mut TrapFrame) -> Result {
    Ok(u64::from(current().parent()))
}

pub(super) fn set_tid_address(frame: &mut TrapFrame) -> Result {
    let [address, ..] = frame.syscall_args();
    let thread = current_thread();
    thread.clear_child_tid.store(address, Ordering::Relaxed);
    Ok(u64::from(thread.tid()))
}

pub(super) fn fork(frame: &mut TrapFrame) -> Result {
    cloning::clone(frame, &Request::fork()).map(u64::from)
}

pub(super) fn vfork(frame: &mut TrapFrame) -> Result {
    cloning::clone(frame, &Request::vfork()).map(u64::from)
}

pub(super) fn clone(frame: &mut TrapFrame) -> Result {
    /// The low byte: the signal at the child's end.
    const CSIGNAL: u64 = 0xff;
    let [flags, stack, parent_tid, tls, child_tid, _] = frame.syscall_args();
    let exit_signal = (flags & CSIGNAL) as u32;
    // Namespaces and descriptors of processes there are none; Linux ignores the upper half.
    let flags = CloneFlags::from_bits(flags & 0xffff_ffff & !CSIGNAL).ok_or(Errno::EINVAL)?;
    let request = Request { flags, exit_signal, stack, parent_tid, child_tid, tls };
    cloning::clone(frame, &request).map(u64::from)
}

pub(super) fn exit(frame: &mut TrapFrame) -> Result {
    let [code, ..] = frame.syscall_args();
    exiting::exit_thread(Status::exited(code))
}

pub(super) fn exit_group(frame: &mut TrapFrame) -> Result {
    let [code, ..] = frame.syscall_args();
    exiting::exit_group(Status::exited(code))
}

/// What a short string and the allocator's rounding take on the heap, times a few.
const STRING_BYTES: usize = 4096;

pub(super) fn execve(frame: &mut TrapFrame) -> Result {
    let [path, arguments, environment, ..] = frame.syscall_args();
    let path = user_memory::read_path(path)?;
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

/// The strings that a NULL-terminated array of pointers names. NULL is an empty
/// one. What they take on the new stack goes off `room`; `E2BIG` if that is not
/// enough.
fn strings(mut array: u64, room: &mut usize) -> Result<Vec<Vec<u8>>> {
    let mut strings: Vec<Vec<u8>> = Vec::new();
    while array != 0 {
        let address: u64 = user_memory::read(array)?;
        if address == 0 {
            break;
        }
        *room = room.checked_sub(size_of::<u64>()).ok_or(Errno::E2BIG)?;
        if strings.len() == strings.capacity() {
            heap::check_room(2 * strings.len() * size_of::<Vec<u8>>() + STRING_BYTES)?;
        }
        let string = user_memory::read_string(address, *room, Errno::E2BIG)?;
        *room = room.saturating_sub(string.len() + 1);
        strings.push(string);
        array = array.wrapping_add(8);
    }
    Ok(strings)
}

pub(super) fn wait4(frame: &mut TrapFrame) -> Result {
    let [pid, status, options, usage, ..] = frame.syscall_args();
    let options = Options::from_bits(options as u32).ok_or(Errno::EINVAL)?;
    let which = match pid as i32 {
        i32::MIN => return Err(Errno::ESRCH),
        -1 => Which::Any,
        0 => Which::Group(current().group.load(Ordering::Relaxed)),
        pid @ 1.. => Which::Pid(pid as u32),
        group => Which::Group(group.unsigned_abs()),
    };
    let Some((pid, ended, used)) = wait::wait(which, options)? else { return Ok(0) };
    user_memory::write_unless_null(status, ended.0)?;
    user_memory::write_unless_null(usage, to_rusage(&used))?;
    Ok(u64::from(pid))
}

/// The process that has `number`, or a thread of that number.
pub(super) fn find_process(number: u32) -> Result<Arc<Process>> {
    let of_thread = || Some(find_thread(number).ok()?.user.as_ref()?.process.clone());
    table::find(number).or_else(of_thread).ok_or(Errno::ESRCH)
}

/// The living thread that has `number`.
pub(super) fn find_thread(number: u32) -> Result<TaskRef> {
    // A task is there for a little longer than its process, which may have been waited for.
    let has_it = |task: &TaskRef| {
        task.user.as_ref().is_some_and(|thread| thread.tid() == number && !thread.process.is_dead())
    };
    // The thread that called exec has the number of its process, and its task another.
    let of_process = || table::find(number)?.thread(number);
    registry::find(number).filter(has_it).or_else(of_process).ok_or(Errno::ESRCH)
}

/// As [`find_process`], 0 being the caller's.
fn with_process<T>(number: u64, f: impl FnOnce(&Process) -> T) -> Result<T> {
    match number as u32 {
        0 => Ok(f(&current())),
        number => find_process(number).map(|process| f(&process)),
    }
}

pub(super) fn setpgid(frame: &mut TrapFrame) -> Result {
    let [pid, group, ..] = frame.syscall_args();
    let pid = if pid as u32 == 0 { current().pid } else { pid as u32 };
    let group = if group as u32 == 0 { pid } else { group as u32 };
    if group.cast_signed() < 0 {
        return Err(Errno::EINVAL);
    }
    session::set_group(pid, group).map(|()| 0)
}

pub(super) fn getpgid(frame: &mut TrapFrame) -> Result {
    let [pid, ..] = frame.syscall_args();
    with_process(pid, |process| u64::from(process.group.load(Ordering::Relaxed)))
}

pub(super) fn getpgrp(_: &mut TrapFrame) -> Result {
    Ok(u64::from(current().group.load(Ordering::Relaxed)))
}

pub(super) fn getsid(frame: &mut TrapFrame) -> Result {
    let [pid, ..] = frame.syscall_args();
    with_process(pid, |process| u64::from(process.session()))
}

pub(super) fn setsid(_: &mut TrapFrame) -> Result {
    session::new_session().map(u64::from)
}
