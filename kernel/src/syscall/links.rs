//! Calls that give names and take them away.

use alloc::sync::Arc;

use super::Result;
use super::names::{AT_EMPTY_PATH, HEAP_BYTES, inode_at, permissions, start};
use crate::errno::Errno;
use crate::fs::inode::{Inode, Kind};
use crate::fs::path::{Last, Walked};
use crate::fs::rename::{self, Named};
use crate::memory::heap;
use crate::mm::user_memory::UserAddr;

/// unlinkat: a directory.
const AT_REMOVEDIR: u64 = 0x200;
/// linkat: follow the last symbolic link.
const AT_SYMLINK_FOLLOW: u64 = 0x400;

/// The directory and the last name of the path at `path`, for calls that change a directory. Only
/// calls that add a name check for room: when memory is full a file can be removed.
fn parent_at(fd: u64, path: UserAddr) -> Result<Walked> {
    let path = path.read_path()?;
    start(fd, &path)?.walk(&path)
}

/// Gives `inode` the name that `walked` ends in.
fn add(walked: &Walked, inode: Arc<Inode>) -> Result {
    let Last::Name(name) = &walked.last else { return Err(Errno::EEXIST) };
    let directory = walked.place.inode().directory()?;
    if walked.slash && !inode.is_directory() {
        return Err(directory.get(name).map_or(Errno::ENOENT, |_| Errno::EEXIST));
    }
    directory.add(name, inode).map(|()| 0)
}

pub(super) fn mkdirat(fd: u64, path: UserAddr, mode: u64) -> Result {
    heap::check_room(HEAP_BYTES)?;
    let walked = parent_at(fd, path)?;
    add(&walked, Inode::new_directory(permissions(mode, 0o1777)))
}

pub(super) fn unlink(fd: u64, path: UserAddr) -> Result {
    let walked = parent_at(fd, path)?;
    let Last::Name(name) = &walked.last else { return Err(Errno::EISDIR) };
    let directory = walked.place.inode().directory()?;
    if walked.slash && !directory.get(name).ok_or(Errno::ENOENT)?.is_directory() {
        return Err(Errno::ENOTDIR);
    }
    directory.remove(name, false).map(|()| 0)
}

pub(super) fn rmdir(fd: u64, path: UserAddr) -> Result {
    let walked = parent_at(fd, path)?;
    match &walked.last {
        Last::Name(name) => walked.place.inode().directory()?.remove(name, true).map(|()| 0),
        Last::Dot => Err(Errno::EINVAL),
        Last::DotDot => Err(Errno::ENOTEMPTY),
        Last::Root => Err(Errno::EBUSY),
    }
}

pub(super) fn unlinkat(fd: u64, path: UserAddr, flags: u64) -> Result {
    match flags as u32 as u64 {
        0 => unlink(fd, path),
        AT_REMOVEDIR => rmdir(fd, path),
        _ => Err(Errno::EINVAL),
    }
}

pub(super) fn symlinkat(target: UserAddr, fd: u64, path: UserAddr) -> Result {
    heap::check_room(HEAP_BYTES)?;
    let target = target.read_path()?;
    if target.is_empty() {
        return Err(Errno::ENOENT);
    }
    let walked = parent_at(fd, path)?;
    add(&walked, Inode::new(Kind::Symlink(target.into()), 0o777))
}

pub(super) fn linkat(from_fd: u64, from: UserAddr, fd: u64, path: UserAddr, flags: u64) -> Result {
    let flags = u64::from(flags as u32);
    if flags & !(AT_SYMLINK_FOLLOW | AT_EMPTY_PATH) != 0 {
        return Err(Errno::EINVAL);
    }
    heap::check_room(HEAP_BYTES)?;
    let inode = inode_at(from_fd, from, flags & AT_SYMLINK_FOLLOW != 0, flags & AT_EMPTY_PATH != 0)?;
    let walked = parent_at(fd, path)?;
    let Last::Name(name) = &walked.last else { return Err(Errno::EEXIST) };
    rename::link(inode, named(&walked, name)).map(|()| 0)
}

fn named<'a>(walked: &'a Walked, name: &'a str) -> Named<'a> {
    Named { place: &walked.place, name, slash: walked.slash }
}

pub(super) fn renameat2(from_fd: u64, from: UserAddr, fd: u64, path: UserAddr, flags: u64) -> Result {
    const NOREPLACE: u64 = 1;
    let flags = u64::from(flags as u32);
    // EXCHANGE and WHITEOUT are refused, as by file systems without them.
    if flags & !NOREPLACE != 0 {
        return Err(Errno::EINVAL);
    }
    heap::check_room(HEAP_BYTES)?;
    let (from, to) = (parent_at(from_fd, from)?, parent_at(fd, path)?);
    match (&from.last, &to.last) {
        (Last::Name(old), Last::Name(new)) => {
            rename::rename(named(&from, old), named(&to, new), flags == NOREPLACE).map(|()| 0)
        }
        (Last::Name(_), _) if flags == NOREPLACE => Err(Errno::EEXIST),
        _ => Err(Errno::EBUSY),
    }
}
