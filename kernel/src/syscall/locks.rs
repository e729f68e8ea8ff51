//! fcntl's record locks, as programs ask for them.

use alloc::sync::Arc;

use files::flock::{F_RDLCK, F_UNLCK, F_WRLCK, Flock};
use files::lock_ranges::Range;

use super::Result;
use crate::errno::Errno;
use crate::fs::Description;
use crate::mm::user_memory::{Plain, UserAddr};
use crate::process::current;

// SAFETY: no padding (the gaps are fields), integers only.
unsafe impl Plain for Flock {}

/// The bytes of the file that `asked` names, for the current process.
fn range(asked: &Flock, file: &Description) -> Result<Range> {
    asked.range(file.base_of(asked.whence)?, current().files.lock_owner(), current().pid)
}

/// F_GETLK.
pub(super) fn get(file: &Description, address: UserAddr) -> Result {
    let mut asked: Flock = address.read()?;
    if !matches!(asked.kind, F_RDLCK | F_WRLCK) {
        return Err(Errno::EINVAL);
    }
    let wanted = range(&asked, file)?;
    let inode = file.inode().ok_or(Errno::EINVAL)?;
    match inode.locks.conflict(&wanted) {
        Some(other) => asked.tell(&other),
        None => asked.kind = F_UNLCK,
    }
    address.write(asked).map(|()| 0)
}

/// F_SETLK and, if it may `sleep`, F_SETLKW of the file open as `fd`.
pub(super) fn set(fd: u64, file: &Arc<Description>, address: UserAddr, sleep: bool) -> Result {
    let asked: Flock = address.read()?;
    let range = range(&asked, file)?;
    let inode = file.inode().ok_or(Errno::EINVAL)?;
    match asked.kind {
        F_UNLCK => return inode.locks.unlock(&range).map(|()| 0),
        F_RDLCK if file.flags().readable() => {}
        F_WRLCK if file.flags().writable() => {}
        F_RDLCK | F_WRLCK => return Err(Errno::EBADF),
        _ => return Err(Errno::EINVAL),
    }
    inode.locks.lock(range, sleep)?;
    // Another thread may have closed it meanwhile, without having seen this lock.
    if !current().files.get(fd).is_ok_and(|now| Arc::ptr_eq(&now, file)) {
        inode.locks.closed_by(range.owner);
        return Err(Errno::EBADF);
    }
    Ok(0)
}
