//! Calls that change a file's length, or the memory behind it.

use super::Result;
use super::files::position;
use super::names::{HERE, inode_at};
use crate::errno::Errno;
use crate::fs::inode::Kind;
use crate::fs::stat::{S_IFIFO, S_IFMT};
use crate::fs::text::WriteAccess;
use crate::mm::user_memory::UserAddr;
use crate::process::current;

pub(super) fn truncate(path: UserAddr, len: u64) -> Result {
    let len = position(len)?;
    let inode = inode_at(HERE, path, true, false)?;
    let _access = matches!(inode.kind, Kind::Regular(_)).then(|| WriteAccess::of(&inode)).transpose()?;
    inode.set_len(len).map(|()| 0)
}

pub(super) fn ftruncate(fd: u64, len: u64) -> Result {
    let len = position(len)?;
    let description = current().files.get(fd)?;
    let inode = description.inode().filter(|_| description.flags().writable()).ok_or(Errno::EINVAL)?;
    inode.set_len(len).map(|()| 0)
}

pub(super) fn fallocate(fd: u64, mode: u64, start: u64, len: u64) -> Result {
    const KEEP_SIZE: u32 = 1;
    let description = current().files.get(fd)?;
    let start = position(start)?;
    if len.cast_signed() <= 0 {
        return Err(Errno::EINVAL);
    }
    if mode as u32 & !KEEP_SIZE != 0 {
        return Err(Errno::EOPNOTSUPP);
    }
    if !description.flags().writable() {
        return Err(Errno::EBADF);
    }
    let end = start.checked_add(len).filter(|&end| end <= i64::MAX as u64).ok_or(Errno::EFBIG)?;
    match description.inode() {
        Some(inode) if matches!(inode.kind, Kind::Regular(_)) => {
            inode.allocate(start, end, mode as u32 == KEEP_SIZE).map(|()| 0)
        }
        _ if description.stat().mode & S_IFMT == S_IFIFO => Err(Errno::ESPIPE),
        _ => Err(Errno::ENODEV),
    }
}
