//! Calls on descriptors.

use alloc::sync::Arc;

use super::{Result, locks};
use crate::errno::Errno;
use crate::fs::{Description, OpenFlags, limits, listing, pipe as pipes};
use crate::memory::heap;
use crate::mm::user_memory::{Cursor, UserAddr, UserSlice};
use crate::process::current;

/// The most pieces of a readv or writev.
const IOV_MAX: u64 = 1024;

fn get(fd: u64) -> Result<Arc<Description>> {
    current().files.get(fd)
}

fn get_any(fd: u64) -> Result<Arc<Description>> {
    current().files.get_any(fd)
}

/// read; `at` a position, pread64.
#[inline(always)]
pub(super) fn read(fd: u64, base: UserAddr, len: u64, at: Option<u64>) -> Result {
    let (at, files) = (at.map(position).transpose()?, &current().files);
    if files.is_shared() {
        return files.look_up_shared(fd).ok_or(Errno::EBADF)?.read(&mut Cursor::of(base, len)?, at);
    }
    // SAFETY: a read changes no table.
    unsafe { files.alone(fd)? }.read(&mut Cursor::of(base, len)?, at)
}

/// write; `at` a position, pwrite64.
#[inline(always)]
pub(super) fn write(fd: u64, base: UserAddr, len: u64, at: Option<u64>) -> Result {
    let (at, files) = (at.map(position).transpose()?, &current().files);
    if files.is_shared() {
        return files.look_up_shared(fd).ok_or(Errno::EBADF)?.write(&mut Cursor::of(base, len)?, at);
    }
    // SAFETY: a write changes no table.
    unsafe { files.alone(fd)? }.write(&mut Cursor::of(base, len)?, at)
}

/// An offset or a length in a file. `EINVAL` below zero.
pub(super) fn position(at: u64) -> Result {
    if at.cast_signed() < 0 { Err(Errno::EINVAL) } else { Ok(at) }
}

/// readv; `at` a position, preadv.
pub(super) fn readv(fd: u64, pieces: UserAddr, count: u64, at: Option<u64>) -> Result {
    let (at, description) = (at.map(position).transpose()?, get(fd)?);
    with_pieces(pieces, count, |pieces| description.read(pieces, at))
}

/// writev; `at` a position, pwritev.
pub(super) fn writev(fd: u64, pieces: UserAddr, count: u64, at: Option<u64>) -> Result {
    let (at, description) = (at.map(position).transpose()?, get(fd)?);
    with_pieces(pieces, count, |pieces| description.write(pieces, at))
}

/// Runs `io` over the `count` pieces that the array at `pieces` names.
fn with_pieces(pieces: UserAddr, count: u64, io: impl FnOnce(&mut Cursor<'_>) -> Result) -> Result {
    /// Enough for nearly all; more take an allocation.
    const FEW: usize = 8;
    if count > IOV_MAX {
        return Err(Errno::EINVAL);
    }
    let count = count as usize;
    let mut few = [UserSlice { base: UserAddr(0), len: 0 }; FEW];
    let mut many;
    let slices = if count <= FEW {
        &mut few[..count]
    } else {
        heap::check_room(count * size_of::<UserSlice>())?;
        many = alloc::vec![UserSlice { base: UserAddr(0), len: 0 }; count];
        &mut many[..]
    };
    for (slice, at) in slices.iter_mut().zip(0..) {
        *slice = pieces.nth::<UserSlice>(at).read()?;
    }
    if slices.iter().any(|slice| slice.len.cast_signed() < 0) {
        return Err(Errno::EINVAL);
    }
    io(&mut Cursor::new(slices)?)
}

/// Bytes of heap for two pipes and their descriptions.
pub(super) const PIPES_BYTES: usize = 4 << 10;

pub(super) fn close(fd: u64) -> Result {
    current().files.close(fd).map(|()| 0)
}

pub(super) fn dup(fd: u64) -> Result {
    current().files.add(get_any(fd)?, false, 0)
}

pub(super) fn dup2(old: u64, new: u64) -> Result {
    let description = get_any(old)?;
    if old as i32 == new as i32 { Ok(new) } else { current().files.replace(new, description, false) }
}

pub(super) fn dup3(old: u64, new: u64, flags: u64) -> Result {
    let flags = OpenFlags::from_bits_retain(flags as u32);
    if old as i32 == new as i32 || !OpenFlags::CLOEXEC.contains(flags) {
        return Err(Errno::EINVAL);
    }
    current().files.replace(new, get_any(old)?, flags.contains(OpenFlags::CLOEXEC))
}

pub(super) fn pipe2(fds: UserAddr, flags: u64) -> Result {
    let flags = OpenFlags::from_bits_retain(flags as u32);
    // O_DIRECT, pipes of packets, does not exist here.
    if !(OpenFlags::CLOEXEC | OpenFlags::NONBLOCK).contains(flags) {
        return Err(Errno::EINVAL);
    }
    heap::check_room(PIPES_BYTES)?;
    let (to_read, to_write) = pipes::new();
    let to_write = Description::new(to_write, flags | OpenFlags::WRONLY);
    add_pair(fds, Description::new(to_read, flags), to_write, flags)
}

/// Opens both descriptors and stores them at `fds`, or neither.
pub(super) fn add_pair(
    fds: UserAddr,
    first: Arc<Description>,
    second: Arc<Description>,
    flags: OpenFlags,
) -> Result {
    let files = &current().files;
    let close = flags.contains(OpenFlags::CLOEXEC);
    let first = files.add(first, close, 0)?;
    let told = files.add(second, close, 0).and_then(|second| {
        let told = fds.write([first as u32, second as u32]);
        told.or_else(|errno| files.close(second).and(Err(errno)))
    });
    told.or_else(|errno| files.close(first).and(Err(errno))).map(|()| 0)
}

pub(super) fn lseek(fd: u64, offset: u64, whence: u64) -> Result {
    get(fd)?.seek(offset.cast_signed(), whence)
}

pub(super) fn llseek(fd: u64, high: u64, low: u64, result: UserAddr, whence: u64) -> Result {
    let offset = high << 32 | low & 0xffff_ffff;
    let position = get(fd)?.seek(offset.cast_signed(), whence)?;
    result.write(position).map(|()| 0)
}

pub(super) fn getdents64(fd: u64, to: UserAddr, len: u64) -> Result {
    listing::read(&*get(fd)?, to, len as u32 as usize)
}

/// fsync, fdatasync: there is no disk.
pub(super) fn fsync(fd: u64) -> Result {
    get(fd)?.inode().map(|_| 0).ok_or(Errno::EINVAL)
}

pub(super) fn ioctl(fd: u64, request: u64, arg: u64) -> Result {
    get(fd)?.file.ioctl(request, arg)
}

pub(super) fn fcntl(fd: u64, command: u64, arg: u64) -> Result {
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
        F_GETLK => locks::get(&*get(fd)?, UserAddr(arg)),
        F_SETLK => locks::set(fd, &get(fd)?, UserAddr(arg), false),
        F_SETLKW => locks::set(fd, &get(fd)?, UserAddr(arg), true),
        _ => Err(Errno::EINVAL),
    }
}
