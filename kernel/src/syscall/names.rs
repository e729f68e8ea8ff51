//! Calls that look names up.

use alloc::sync::Arc;
use core::sync::atomic::Ordering;

use super::Result;
use crate::errno::Errno;
use crate::fs::OpenFlags;
use crate::fs::inode::Inode;
use crate::fs::open;
use crate::fs::path::Place;
use crate::memory::heap;
use crate::mm::user_memory::UserAddr;
use crate::process::current;

/// Most bytes that a call that makes or opens a name leaves on the heap: an inode, a directory's
/// node, a description, the text of a file in /proc.
pub(super) const HEAP_BYTES: usize = 64 << 10;

/// The "descriptor" of the current directory.
pub(super) const AT_FDCWD: i32 = -100;
/// [`AT_FDCWD`] in a register: the start of the path in calls without a directory.
pub(super) const HERE: u64 = AT_FDCWD as u64;
/// Do not follow the last symbolic link.
pub(super) const AT_SYMLINK_NOFOLLOW: u64 = 0x100;
/// An empty path is the descriptor itself.
pub(super) const AT_EMPTY_PATH: u64 = 0x1000;

/// Where the path of a call with the directory `fd` starts.
pub(super) fn start(fd: u64, path: &str) -> Result<Place> {
    match fd as i32 {
        _ if path.starts_with('/') => Ok(Place::root()),
        AT_FDCWD => Ok(here()),
        _ => current().files.get_any(fd)?.place(),
    }
}

/// The current directory.
pub(super) fn here() -> Place {
    current().directory.lock().clone()
}

/// The inode that the path at `path` names, from `fd`; with `or_empty` an empty path names `fd`
/// itself.
pub(super) fn inode_at(fd: u64, path: UserAddr, follow: bool, or_empty: bool) -> Result<Arc<Inode>> {
    let path = path.read_path()?;
    if !path.is_empty() || !or_empty {
        return start(fd, &path)?.look_up(&path, follow);
    }
    match fd as i32 {
        AT_FDCWD => Ok(here().inode().clone()),
        // A file without a name, such as a pipe, has no attributes that can be changed.
        _ => current().files.get_any(fd)?.inode().cloned().ok_or(Errno::EOPNOTSUPP),
    }
}

/// From the `flags` of a look-up: whether the last symbolic link is followed, and whether the path
/// may be empty. `EINVAL` for other flags than these and `more`.
pub(super) fn lookup(flags: u64, more: u64) -> Result<(bool, bool)> {
    if flags as u32 as u64 & !(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH | more) != 0 {
        return Err(Errno::EINVAL);
    }
    Ok((flags & AT_SYMLINK_NOFOLLOW == 0, flags & AT_EMPTY_PATH != 0))
}

/// The permissions of a new file: those of `mode` that count for its kind and that the
/// process does not mask.
pub(super) fn permissions(mode: u64, kept: u32) -> u32 {
    mode as u32 & kept & !current().umask.load(Ordering::Relaxed)
}

pub(super) fn openat(fd: u64, path: UserAddr, flags: u64, mode: u64) -> Result {
    heap::check_room(HEAP_BYTES)?;
    let flags = OpenFlags::of_open(flags)?;
    let path = path.read_path()?;
    // Before a file is made or emptied.
    current().files.check_free()?;
    let description = open::open(&start(fd, &path)?, &path, flags, permissions(mode, 0o7777))?;
    current().files.add(description, flags.contains(OpenFlags::CLOEXEC), 0)
}

pub(super) fn creat(path: UserAddr, mode: u64) -> Result {
    let flags = OpenFlags::CREAT | OpenFlags::WRONLY | OpenFlags::TRUNC;
    openat(HERE, path, flags.bits().into(), mode)
}

pub(super) fn faccessat2(fd: u64, path: UserAddr, wanted: u64, flags: u64) -> Result {
    const X_OK: u64 = 1;
    const W_OK: u64 = 2;
    const ALL: u64 = 7;
    /// For the effective user, which is the real one.
    const AT_EACCESS: u64 = 0x200;
    let (follow, or_empty) = lookup(flags, AT_EACCESS)?;
    let wanted = u64::from(wanted as u32);
    if wanted & !ALL != 0 {
        return Err(Errno::EINVAL);
    }
    let inode = inode_at(fd, path, follow, or_empty)?;
    // All processes are root's. Root may do all but run a file that no user may run.
    let runs = inode.is_directory() || inode.attributes.get().permissions & 0o111 != 0;
    match () {
        () if wanted & X_OK != 0 && !runs => Err(Errno::EACCES),
        () if wanted & W_OK != 0 && inode.is_fixed() => Err(Errno::EROFS),
        () => Ok(0),
    }
}

pub(super) fn readlinkat(fd: u64, path: UserAddr, to: UserAddr, len: u64) -> Result {
    if len as i32 <= 0 {
        return Err(Errno::EINVAL);
    }
    // A descriptor can be a symbolic link: O_PATH | O_NOFOLLOW.
    let inode = inode_at(fd, path, false, true)?;
    let target = inode.link_target().ok_or(Errno::EINVAL)?;
    let bytes = &target.as_bytes()[..target.len().min(len as u32 as usize)];
    to.write_bytes(bytes)?;
    Ok(bytes.len() as u64)
}

pub(super) fn getcwd(to: UserAddr, len: u64) -> Result {
    heap::check_room(HEAP_BYTES)?;
    let mut path = here().path()?;
    path.push('\0');
    if path.len() as u64 > len {
        return Err(Errno::ERANGE);
    }
    to.write_bytes(path.as_bytes())?;
    Ok(path.len() as u64)
}

pub(super) fn chdir(path: UserAddr) -> Result {
    heap::check_room(HEAP_BYTES)?;
    let path = path.read_path()?;
    set_here(here().enter(&path)?)
}

pub(super) fn fchdir(fd: u64) -> Result {
    set_here(current().files.get_any(fd)?.place()?)
}

fn set_here(place: Place) -> Result {
    let before = core::mem::replace(&mut *current().directory.lock(), place);
    // This may be the last reference to it: not under the lock.
    drop(before);
    Ok(0)
}

pub(super) fn umask(mask: u64) -> Result {
    // Relaxed: the word orders nothing else.
    Ok(current().umask.swap(mask as u32 & 0o777, Ordering::Relaxed).into())
}
