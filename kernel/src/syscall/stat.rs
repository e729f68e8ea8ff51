//! Calls that report on a file, and on its file system.

use arch::addr::PAGE_SIZE;

use super::Result;
use super::names::{AT_FDCWD, HERE, inode_at, lookup};
use crate::errno::Errno;
use crate::fs::path::NAME_MAX;
use crate::memory::frame;
use crate::mm::user_memory::UserAddr;
use crate::process::current;

pub(super) fn newfstatat(fd: u64, path: UserAddr, to: UserAddr, flags: u64) -> Result {
    /// There is nothing to be mounted on the way.
    const AT_NO_AUTOMOUNT: u64 = 0x800;
    let (follow, or_empty) = lookup(flags, AT_NO_AUTOMOUNT)?;
    // Pipes and sockets, too.
    let is_open = or_empty && fd as i32 != AT_FDCWD && path.read::<u8>()? == 0;
    let stat = match is_open {
        true => current().files.get_any(fd)?.stat(),
        false => inode_at(fd, path, follow, or_empty)?.stat(),
    };
    to.write(stat).map(|()| 0)
}

pub(super) fn fstat(fd: u64, to: UserAddr) -> Result {
    to.write(current().files.get_any(fd)?.stat()).map(|()| 0)
}

/// Bytes of `struct statfs`.
pub(super) const STATFS_BYTES: u64 = 120;

/// Linux's `struct statfs` for ppc64, which is its `struct statfs64`, too.
fn write_statfs(to: UserAddr) -> Result {
    const TMPFS_MAGIC: u64 = 0x0102_1994;
    /// Inodes are not counted: there are as many as memory has room for.
    const UNCOUNTED: u64 = 0;
    let (total, free) = (frame::total_count(), frame::free_count());
    let mut words = [0_u64; 15];
    words[..7].copy_from_slice(&[TMPFS_MAGIC, PAGE_SIZE, total, free, free, UNCOUNTED, UNCOUNTED]);
    // After the two halves of the file system's number, which is 0: the longest name, and the size
    // of a fragment.
    words[8..10].copy_from_slice(&[NAME_MAX as u64, PAGE_SIZE]);
    to.write(words).map(|()| 0)
}

/// statfs, and statfs64, whose caller names the size.
pub(super) fn statfs(path: UserAddr, size: u64, to: UserAddr) -> Result {
    if size != STATFS_BYTES {
        return Err(Errno::EINVAL);
    }
    inode_at(HERE, path, true, false)?;
    write_statfs(to)
}

/// fstatfs, and fstatfs64: [`statfs`] of an open file.
pub(super) fn fstatfs(fd: u64, size: u64, to: UserAddr) -> Result {
    if size != STATFS_BYTES {
        return Err(Errno::EINVAL);
    }
    current().files.get_any(fd)?;
    write_statfs(to)
}
