//! Calls on descriptors.

use alloc::sync::Arc;

use arch::exceptions::TrapFrame;

use super::{Result, locks};
use crate::errno::Errno;
use crate::fs::{Description, OpenFlags, limits, listing, pipe as pipes};
use crate::mm::heap;
use crate::process::current;
use crate::process::user_memory::{self, Cursor, UserSlice};

/// The most pieces of a readv or writev.
const IOV_MAX: u64 = 1024;

fn get(fd: u64) -> Result<Arc<Description>> {
    current().files.get(fd)
}

fn get_any(fd: u64) -> Result<Arc<Description>> {
    current().files.get_any(fd)
}

pub(super) fn read(frame: &mut TrapFrame) -> Result {
    let [fd, base, len, ..] = frame.syscall_args();
    get(fd)?.read(Cursor::new(&[UserSlice { base: user_memory::UserAddr(base), len }])?, None)
}

pub(super) fn write(frame: &mut TrapFrame) -> Result {
    let [fd, base, len, ..] = frame.syscall_args();
    get(fd)?.write(Cursor::new(&[UserSlice { base: user_memory::UserAddr(base), len }])?, None)
}

pub(super) fn pread64(frame: &mut TrapFrame) -> Result {
    let [fd, base, len, at, ..] = frame.syscall_args();
    let at = position(at)?;
    get(fd)?.read(Cursor::new(&[UserSlice { base: user_memory::UserAddr(base), len }])?, Some(at))
}

pub(super) fn pwrite64(frame: &mut TrapFrame) -> Result {
    let [fd, base, len, at, ..] = frame.syscall_args();
    let at = position(at)?;
    get(fd)?.write(Cursor::new(&[UserSlice { base: user_memory::UserAddr(base), len }])?, Some(at))
}

/// An offset or a length in a file. `EINVAL` below zero.
pub(super) fn position(at: u64) -> Result {
    if at.cast_signed() < 0 { Err(Errno::EINVAL) } else { Ok(at) }
}

pub(super) fn readv(frame: &mut TrapFrame) -> Result {
    let [fd, pieces, count, ..] = frame.syscall_args();
    let description = get(fd)?;
    with_pieces(pieces, count, |pieces| description.read(pieces, None))
}

pub(super) fn writev(frame: &mut TrapFrame) -> Result {
    let [fd, pieces, count, ..] = frame.syscall_args();
    let description = get(fd)?;
    with_pieces(pieces, count, |pieces| description.write(pieces, None))
}

pub(super) fn preadv(frame: &mut TrapFrame) -> Result {
    let [fd, pieces, count, at, ..] = frame.syscall_args();
    let (at, description) = (position(at)?, get(fd)?);
    with_pieces(pieces, count, |pieces| description.read(pieces, Some(at)))
}

pub(super) fn pwritev(frame: &mut TrapFrame) -> Result {
    let [fd, pieces, count, at, ..] = frame.syscall_args();
    let (at, description) = (position(at)?, get(fd)?);
    with_pieces(pieces, count, |pieces| description.write(pieces, Some(at)))
}

/// Runs `io` over the `count` pieces that the array at `pieces` names.
fn with_pieces(pieces: u64, count: u64, io: impl FnOnce(Cursor<'_>) -> Result) -> Result {
    /// Enough for nearly all; more take an allocation.
    const FEW: usize = 8;
    if count > IOV_MAX {
        return Err(Errno::EINVAL);
    }
    let count = count as usize;
    let mut few = [UserSlice { base: user_memory::UserAddr(0), len: 0 }; FEW];
    let mut many;
    let slices = if count <= FEW {
        &mut few[..count]
    } else {
        heap::check_room(count * size_of::<UserSlice>())?;
        many = alloc::vec![UserSlice { base: user_memory::UserAddr(0), len: 0 }; count];
        &mut many[..]
    };
    for (slice, at) in slices.iter_mut().zip(0..) {
        *slice = user_memory::read(pieces + at * size_of::<UserSlice>() as u64)?;
    }
    if slices.iter().any(|slice| slice.len.cast_signed() < 0) {
        return Err(Errno::EINVAL);
    }
    io(Cursor::new(slices)?)
}

pub(super) fn close(frame: &mut TrapFrame) -> Result {
    let [fd, ..] = frame.syscall_args();
    current().files.close(fd).map(|()| 0)
}

pub(super) fn dup(frame: &mut TrapFrame) -> Result {
    let [fd, ..] = frame.syscall_args();
    current().files.add(get_any(fd)?, false, 0)
}

pub(super) fn dup2(frame: &mut TrapFrame) -> Result {
    let [old, new, ..] = frame.syscall_args();
    let description = get_any(old)?;
    if old as i32 == new as i32 { Ok(new) } else { current().files.replace(new, description, false) }
}

pub(super) fn dup3(frame: &mut TrapFrame) -> Result {
    let [old, new, flags, ..] = frame.syscall_args();
    let flags = OpenFlags::from_bits_retain(flags as u32);
    if old as i32 == new as i32 || !OpenFlags::CLOEXEC.contains(flags) {
        return Err(Errno::EINVAL);
    }
    current().files.replace(new, get_any(old)?, flags.contains(OpenFlags::CLOEXEC))
}

pub(super) fn pipe(frame: &mut TrapFrame) -> Result {
    let [fds, ..] = frame.syscall_args();
    new_pipe(fds, OpenFlags::empty())
}

pub(super) fn pipe2(frame: &mut TrapFrame) -> Result {
    let [fds, flags, ..] = frame.syscall_args();
    let flags = OpenFlags::from_bits_retain(flags as u32);
    // O_DIRECT, packets, is not there.
    if !(OpenFlags::CLOEXEC | OpenFlags::NONBLOCK).contains(flags) {
        return Err(Errno::EINVAL);
    }
    new_pipe(fds, flags)
}

/// What two pipes and their descriptions take on the heap.
pub(super) const PIPES_BYTES: usize = 4 << 10;

fn new_pipe(fds: u64, flags: OpenFlags) -> Result {
    heap::check_room(PIPES_BYTES)?;
    let (to_read, to_write) = pipes::new();
    let to_write = Description::new(to_write, flags | OpenFlags::WRONLY);
    add_pair(fds, Description::new(to_read, flags), to_write, flags)
}

/// Gives both descriptors, and stores them at `fds`; or neither.
pub(super) fn add_pair(
    fds: u64,
    first: Arc<Description>,
    second: Arc<Description>,
    flags: OpenFlags,
) -> Result {
    let files = &current().files;
    let close = flags.contains(OpenFlags::CLOEXEC);
    let first = files.add(first, close, 0)?;
    let second = files.add(second, close, 0);
    let result = second.and_then(|second| {
        let told = user_memory::write(fds, [first as u32, second as u32]);
        if told.is_err() {
            files.close(second)?;
        }
        told
    });
    if result.is_err() {
        files.close(first)?;
    }
    result.map(|()| 0)
}

pub(super) fn lseek(frame: &mut TrapFrame) -> Result {
    let [fd, offset, whence, ..] = frame.syscall_args();
    get(fd)?.seek(offset.cast_signed(), whence)
}

pub(super) fn llseek(frame: &mut TrapFrame) -> Result {
    let [fd, high, low, result, whence, _] = frame.syscall_args();
    let offset = high << 32 | low & 0xffff_ffff;
    let position = get(fd)?.seek(offset.cast_signed(), whence)?;
    user_memory::write(result, position).map(|()| 0)
}

pub(super) fn getdents64(frame: &mut TrapFrame) -> Result {
    let [fd, to, len, ..] = frame.syscall_args();
    listing::read(&*get(fd)?, to, len as u32 as usize)
}

/// fsync, fdatasync: memory is all there is.
pub(super) fn fsync(frame: &mut TrapFrame) -> Result {
    let [fd, ..] = frame.syscall_args();
    get(fd)?.inode().map(|_| 0).ok_or(Errno::EINVAL)
}

pub(super) fn ioctl(frame: &mut TrapFrame) -> Result {
    let [fd, request, arg, ..] = frame.syscall_args();
    get(fd)?.file.ioctl(request, arg)
}

pub(super) fn fcntl(frame: &mut TrapFrame) -> Result {
    const F_DUPFD: u64 = 0;
    const F_GETFD: u64 = 1;
    const F_SETFD: u64 = 2;
    const F_GETFL: u64 = 3;
    const F_SETFL: u64 = 4;
    const F_GETLK: u64 = 5;
    const F_SETLK: u64 = 6;
    const F_SETLKW: u64 = 7;
    const F_DUPFD_CLOEXEC: u64 = 1030;
    const FD_CLOEXEC: u64 = 1;
    let [fd, command, arg, ..] = frame.syscall_args();
    let files = &current().files;
    match command {
        F_DUPFD | F_DUPFD_CLOEXEC if arg >= limits::max_files() as u64 => Err(Errno::EINVAL),
        F_DUPFD => files.add(get_any(fd)?, false, arg as usize),
        F_DUPFD_CLOEXEC => files.add(get_any(fd)?, true, arg as usize),
        F_GETFD => Ok(if files.close_on_exec(fd)? { FD_CLOEXEC } else { 0 }),
        F_SETFD => files.set_close_on_exec(fd, arg & FD_CLOEXEC != 0).map(|()| 0),
        F_GETFL => Ok(u64::from(get_any(fd)?.flags().bits())),
        F_SETFL => {
            get(fd)?.set_flags(OpenFlags::from_bits_retain(arg as u32));
            Ok(0)
        }
        F_GETLK => locks::get(&*get(fd)?, arg),
        F_SETLK => locks::set(fd, &get(fd)?, arg, false),
        F_SETLKW => locks::set(fd, &get(fd)?, arg, true),
        _ => Err(Errno::EINVAL),
    }
}
