//! Calls on path names.

use alloc::string::String;

use powerpc64::exceptions::TrapFrame;

use super::Result;
use crate::errno::Errno;
use crate::fs::OpenFlags;
use crate::fs::inode::{Inode, Kind};
use crate::fs::path::{self, Place};
use crate::fs::stat::{LinuxStat, Stat};
use crate::mm::heap;
use crate::process::{current, user_memory};

/// What a call that makes a name or opens one can leave on the heap: an inode, a
/// directory's node, a description with a long path, the text of a file in /proc.
const HEAP_BYTES: usize = 64 << 10;

/// The "descriptor" of the current directory.
const AT_FDCWD: i32 = -100;
/// Do not follow the last symbolic link.
const AT_SYMLINK_NOFOLLOW: u64 = 0x100;
/// unlinkat: a directory.
const AT_REMOVEDIR: u64 = 0x200;
/// An empty path is the descriptor itself.
const AT_EMPTY_PATH: u64 = 0x1000;

/// Where the path of a call with the directory `fd` starts.
fn start(fd: u64, path: &str) -> Result<Place> {
    if path.starts_with('/') {
        return Ok(Place::root());
    }
    if fd as i32 != AT_FDCWD {
        return current().files.get(fd)?.file.place().cloned().ok_or(Errno::ENOTDIR);
    }
    Ok(here())
}

fn here() -> Place {
    current().directory.lock().clone()
}

fn open_at(fd: u64, path: u64, flags: u64, mode: u64) -> Result {
    heap::check_room(HEAP_BYTES)?;
    let path = user_memory::read_path(path)?;
    let flags = OpenFlags::from_bits_truncate(flags as u32);
    let description = path::open(&start(fd, &path)?, &path, flags, mode as u32)?;
    current().files.add(description, flags.contains(OpenFlags::CLOEXEC), 0)
}

pub(super) fn open(frame: &mut TrapFrame) -> Result {
    let [path, flags, mode, ..] = frame.syscall_args();
    open_at(AT_FDCWD as u64, path, flags, mode)
}

pub(super) fn openat(frame: &mut TrapFrame) -> Result {
    let [fd, path, flags, mode, ..] = frame.syscall_args();
    open_at(fd, path, flags, mode)
}

fn stat_at(fd: u64, path: u64, to: u64, flags: u64) -> Result {
    let path = user_memory::read_path(path)?;
    let stat: Stat = if path.is_empty() && flags & AT_EMPTY_PATH != 0 {
        match fd as i32 {
            AT_FDCWD => here().inode().stat(),
            _ => current().files.get(fd)?.file.stat(),
        }
    } else {
        let follow = flags & AT_SYMLINK_NOFOLLOW == 0;
        start(fd, &path)?.find(&path, follow)?.0.stat()
    };
    user_memory::write(to, LinuxStat::from(stat)).map(|()| 0)
}

pub(super) fn newfstatat(frame: &mut TrapFrame) -> Result {
    let [fd, path, to, flags, ..] = frame.syscall_args();
    stat_at(fd, path, to, flags)
}

pub(super) fn stat(frame: &mut TrapFrame) -> Result {
    let [path, to, ..] = frame.syscall_args();
    stat_at(AT_FDCWD as u64, path, to, 0)
}

pub(super) fn lstat(frame: &mut TrapFrame) -> Result {
    let [path, to, ..] = frame.syscall_args();
    stat_at(AT_FDCWD as u64, path, to, AT_SYMLINK_NOFOLLOW)
}

fn access_at(fd: u64, path: u64) -> Result {
    let path = user_memory::read_path(path)?;
    // Everybody is root.
    start(fd, &path)?.find(&path, true).map(|_| 0)
}

pub(super) fn access(frame: &mut TrapFrame) -> Result {
    let [path, ..] = frame.syscall_args();
    access_at(AT_FDCWD as u64, path)
}

pub(super) fn faccessat(frame: &mut TrapFrame) -> Result {
    let [fd, path, ..] = frame.syscall_args();
    access_at(fd, path)
}

fn readlink_at(fd: u64, path: u64, to: u64, len: u64) -> Result {
    let path = user_memory::read_path(path)?;
    let (inode, _) = start(fd, &path)?.find(&path, false)?;
    let target = inode.link_target().ok_or(Errno::EINVAL)?;
    let bytes = &target.as_bytes()[..target.len().min(len as usize)];
    user_memory::write_bytes(to, bytes)?;
    Ok(bytes.len() as u64)
}

pub(super) fn readlink(frame: &mut TrapFrame) -> Result {
    let [path, to, len, ..] = frame.syscall_args();
    readlink_at(AT_FDCWD as u64, path, to, len)
}

pub(super) fn readlinkat(frame: &mut TrapFrame) -> Result {
    let [fd, path, to, len, ..] = frame.syscall_args();
    readlink_at(fd, path, to, len)
}

pub(super) fn getcwd(frame: &mut TrapFrame) -> Result {
    let [to, len, ..] = frame.syscall_args();
    let mut path = here().path();
    path.push('\0');
    if path.len() as u64 > len {
        return Err(Errno::ERANGE);
    }
    user_memory::write_bytes(to, path.as_bytes())?;
    Ok(path.len() as u64)
}

pub(super) fn chdir(frame: &mut TrapFrame) -> Result {
    let [path, ..] = frame.syscall_args();
    heap::check_room(HEAP_BYTES)?;
    let path = user_memory::read_path(path)?;
    let place = here().enter(&path)?;
    *current().directory.lock() = place;
    Ok(0)
}

pub(super) fn fchdir(frame: &mut TrapFrame) -> Result {
    let [fd, ..] = frame.syscall_args();
    let place = current().files.get(fd)?.file.place().cloned().ok_or(Errno::ENOTDIR)?;
    *current().directory.lock() = place;
    Ok(0)
}

/// The directory and the last name of `path`, for calls that change a directory.
fn parent_of(fd: u64, path: &str, no_name: Errno) -> Result<(Place, String)> {
    let walked = start(fd, path)?.walk(path.trim_end_matches('/'))?;
    Ok((walked.place, walked.last.ok_or(no_name)?))
}

fn mkdir_at(fd: u64, path: u64, mode: u64) -> Result {
    heap::check_room(HEAP_BYTES)?;
    let path = user_memory::read_path(path)?;
    let (place, name) = parent_of(fd, &path, Errno::EEXIST)?;
    let directory = Inode::new_directory(mode as u32 & 0o777);
    place.inode().directory()?.add(&name, directory).map(|()| 0)
}

pub(super) fn mkdir(frame: &mut TrapFrame) -> Result {
    let [path, mode, ..] = frame.syscall_args();
    mkdir_at(AT_FDCWD as u64, path, mode)
}

pub(super) fn mkdirat(frame: &mut TrapFrame) -> Result {
    let [fd, path, mode, ..] = frame.syscall_args();
    mkdir_at(fd, path, mode)
}

fn unlink_at(fd: u64, path: u64, directory: bool) -> Result {
    let path = user_memory::read_path(path)?;
    let (place, name) = parent_of(fd, &path, Errno::EBUSY)?;
    let may_go = |inode: &Inode| match (&inode.kind, directory) {
        (Kind::Directory(names), true) if names.is_empty() => Ok(()),
        (Kind::Directory(_), true) => Err(Errno::ENOTEMPTY),
        (Kind::Directory(_), false) => Err(Errno::EISDIR),
        (_, true) => Err(Errno::ENOTDIR),
        (_, false) => Ok(()),
    };
    place.inode().directory()?.remove(&name, may_go).map(|()| 0)
}

pub(super) fn unlink(frame: &mut TrapFrame) -> Result {
    let [path, ..] = frame.syscall_args();
    unlink_at(AT_FDCWD as u64, path, false)
}

pub(super) fn rmdir(frame: &mut TrapFrame) -> Result {
    let [path, ..] = frame.syscall_args();
    unlink_at(AT_FDCWD as u64, path, true)
}

pub(super) fn unlinkat(frame: &mut TrapFrame) -> Result {
    let [fd, path, flags, ..] = frame.syscall_args();
    unlink_at(fd, path, flags & AT_REMOVEDIR != 0)
}
