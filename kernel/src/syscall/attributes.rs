//! Calls that change a file's attributes: mode, owner, times.

use alloc::sync::Arc;

use super::Result;
use super::names::{AT_FDCWD, inode_at, lookup};
use crate::errno::Errno;
use crate::fs::attributes::{TimeNs, now_ns};
use crate::fs::inode::{Inode, Kind};
use crate::fs::stat::SECOND_NS;
use crate::mm::user_memory::UserAddr;
use crate::process::current;

/// The inode that is open as `fd`.
fn inode_of(fd: u64) -> Result<Arc<Inode>> {
    // A file without a name, such as a pipe, has no attributes that can be changed.
    current().files.get(fd)?.inode().cloned().ok_or(Errno::EOPNOTSUPP)
}

fn change_mode(inode: &Inode, mode: u64) -> Result {
    if matches!(inode.kind, Kind::Symlink(_) | Kind::MagicLink(_)) {
        return Err(Errno::EOPNOTSUPP);
    }
    inode.attributes.change(|values, _| values.permissions = mode as u32 & 0o7777);
    Ok(0)
}

pub(super) fn fchmod(fd: u64, mode: u64) -> Result {
    change_mode(&*inode_of(fd)?, mode)
}

pub(super) fn fchmodat(fd: u64, path: UserAddr, mode: u64) -> Result {
    change_mode(&*inode_at(fd, path, true, false)?, mode)
}

fn change_owner(inode: &Inode, uid: u64, gid: u64) -> Result {
    let id = |id| Some(id as u32).filter(|&id| id != u32::MAX);
    inode.attributes.set_owner(id(uid), id(gid), inode.is_directory());
    Ok(0)
}

pub(super) fn fchown(fd: u64, uid: u64, gid: u64) -> Result {
    change_owner(&*inode_of(fd)?, uid, gid)
}

pub(super) fn fchownat(fd: u64, path: UserAddr, uid: u64, gid: u64, flags: u64) -> Result {
    let (follow, or_empty) = lookup(flags, 0)?;
    change_owner(&*inode_at(fd, path, follow, or_empty)?, uid, gid)
}

/// A time that utimensat sets; none if it is to stay.
fn new_time([seconds, ns]: [i64; 2]) -> Result<Option<TimeNs>> {
    const UTIME_NOW: i64 = 0x3fff_ffff;
    const UTIME_OMIT: i64 = 0x3fff_fffe;
    match ns {
        UTIME_NOW => Ok(Some(now_ns())),
        UTIME_OMIT => Ok(None),
        // As in Linux, the nearest representable time.
        0..SECOND_NS => Ok(Some(seconds.saturating_mul(SECOND_NS).saturating_add(ns))),
        _ => Err(Errno::EINVAL),
    }
}

pub(super) fn utimensat(fd: u64, path: UserAddr, times: UserAddr, flags: u64) -> Result {
    let times = match times {
        UserAddr(0) => [Some(now_ns()); 2],
        _ => {
            let [access, modify]: [[i64; 2]; 2] = times.read()?;
            [new_time(access)?, new_time(modify)?]
        }
    };
    if times == [None; 2] {
        return Ok(0);
    }
    let inode = match path {
        UserAddr(0) if fd as i32 != AT_FDCWD && flags as u32 != 0 => return Err(Errno::EINVAL),
        UserAddr(0) if fd as i32 != AT_FDCWD => inode_of(fd)?,
        _ => {
            let (follow, or_empty) = lookup(flags, 0)?;
            inode_at(fd, path, follow, or_empty)?
        }
    };
    inode.attributes.change(|values, _| {
        values.access_ns = times[0].unwrap_or(values.access_ns);
        values.modify_ns = times[1].unwrap_or(values.modify_ns);
    });
    Ok(0)
}
