//! Calls on processes and threads.

use alloc::string::String;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use powerpc64::exceptions::TrapFrame;

use super::accounting::to_rusage;
use super::{FRAME_REPLACED, Result};
use crate::errno::Errno;
use crate::mm::heap;
use crate::process::clone::{self as cloning, CloneFlags, Request};
use crate::process::exec::exec;
use crate::process::exit::{self as exiting, Status};
use crate::process::wait::{self, Which};
use crate::process::{ARGUMENTS_MAX, Arguments};
use crate::process::{Process, current, current_thread, signal, table, user_memory};

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

pub(super) fn set_robust_list(frame: &mut TrapFrame) -> Result {
    /// Bytes of `struct robust_list_head`.
    const HEAD_BYTES: u64 = 24;
    let [head, len, ..] = frame.syscall_args();
    if len != HEAD_BYTES {
        return Err(Errno::EINVAL);
    }
    current_thread().robust_list.store(head, Ordering::Relaxed);
    Ok(0)
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
    let end_signal = flags & CSIGNAL;
    // Other signals than SIGCHLD, and none, are for tracers and old threads.
    if end_signal != 0 && end_signal != u64::from(signal::SIGCHLD) {
        return Err(Errno::EINVAL);
    }
    let flags = CloneFlags::from_bits(flags & !CSIGNAL).ok_or(Errno::EINVAL)?;
    cloning::clone(frame, &Request { flags, stack, parent_tid, child_tid, tls }).map(u64::from)
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
    let arguments = strings(arguments, &mut room)?;
    let passed = Arguments { arguments, environment: strings(environment, &mut room)? };
    let place = current().directory.lock().clone();
    *frame = exec(&place, &path, &passed)?;
    Err(FRAME_REPLACED)
}

/// The strings that a NULL-terminated array of pointers names. NULL is an empty
/// one. What they take on the new stack goes off `room`; `E2BIG` if that is not
/// enough.
fn strings(mut array: u64, room: &mut usize) -> Result<Vec<String>> {
    let mut strings: Vec<String> = Vec::new();
    while array != 0 {
        let address: u64 = user_memory::read(array)?;
        if address == 0 {
            break;
        }
        *room = room.checked_sub(size_of::<u64>()).ok_or(Errno::E2BIG)?;
        if strings.len() == strings.capacity() {
            heap::check_room(2 * strings.len() * size_of::<String>() + STRING_BYTES)?;
        }
        let string = user_memory::read_string(address, *room, Errno::E2BIG)?;
        *room = room.saturating_sub(string.len() + 1);
        strings.push(string);
        array = array.wrapping_add(8);
    }
    Ok(strings)
}

pub(super) fn wait4(frame: &mut TrapFrame) -> Result {
    const WNOHANG: u64 = 1;
    /// WUNTRACED, WCONTINUED, __WNOTHREAD, __WALL, __WCLONE: nothing to add here.
    const HARMLESS: u64 = 0x2 | 0x8 | 0xe000_0000;
    let [pid, status, options, usage, ..] = frame.syscall_args();
    let options = options & 0xffff_ffff;
    if options & !(WNOHANG | HARMLESS) != 0 {
        return Err(Errno::EINVAL);
    }
    let which = match pid as i32 {
        -1 => Which::Any,
        0 => Which::Group(current().group.load(Ordering::Relaxed)),
        pid @ 1.. => Which::Pid(pid as u32),
        group => Which::Group(group.unsigned_abs()),
    };
    let Some((pid, ended, used)) = wait::wait(which, options & WNOHANG != 0)? else { return Ok(0) };
    user_memory::write_unless_null(status, ended.0)?;
    user_memory::write_unless_null(usage, to_rusage(&used))?;
    Ok(u64::from(pid))
}

/// The process that `pid` names, 0 being the caller's.
fn with_process<T>(pid: u64, f: impl FnOnce(&Process) -> T) -> Result<T> {
    match pid as u32 {
        0 => Ok(f(current())),
        pid => table::find(pid).map(|process| f(&process)).ok_or(Errno::ESRCH),
    }
}

pub(super) fn setpgid(frame: &mut TrapFrame) -> Result {
    let [pid, group, ..] = frame.syscall_args();
    with_process(pid, |process| {
        table::set_group(process, if group as u32 == 0 { process.pid } else { group as u32 });
        0
    })
}

pub(super) fn getpgid(frame: &mut TrapFrame) -> Result {
    let [pid, ..] = frame.syscall_args();
    with_process(pid, |process| u64::from(process.group.load(Ordering::Relaxed)))
}

pub(super) fn getpgrp(_: &mut TrapFrame) -> Result {
    Ok(u64::from(current().group.load(Ordering::Relaxed)))
}

pub(super) fn setsid(_: &mut TrapFrame) -> Result {
    let process = current();
    table::set_group(process, process.pid);
    Ok(u64::from(process.pid))
}
