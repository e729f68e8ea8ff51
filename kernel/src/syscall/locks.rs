//! fcntl's record locks, as programs ask for them.

use alloc::sync::Arc;

use super::Result;
use crate::errno::Errno;
use crate::fs::Description;
use crate::fs::lock::Range;
use crate::process::current;
use crate::process::user_memory::{self, Plain};

const F_RDLCK: i16 = 0;
const F_WRLCK: i16 = 1;
const F_UNLCK: i16 = 2;

/// Linux's `struct flock` for ppc64.
#[derive(Clone, Copy)]
#[repr(C)]
struct Flock {
    kind: i16,
    whence: i16,
    pad: u32,
    start: i64,
    len: i64,
    pid: i32,
    end_pad: u32,
}

// SAFETY: no padding (the gaps are fields), integers only.
unsafe impl Plain for Flock {}
const _: () = assert!(size_of::<Flock>() == 32);

impl Flock {
    /// The bytes that it names in the file, for the current process (Linux's
    /// `flock64_to_posix_lock`).
    fn range(&self, file: &Description) -> Result<Range> {
        const LAST: i64 = i64::MAX;
        let base = file.base_of(self.whence as u16)?.cast_signed();
        let start = base.checked_add(self.start).ok_or(Errno::EOVERFLOW)?;
        if start < 0 {
            return Err(Errno::EINVAL);
        }
        let (first, last) = match self.len {
            0 => (start, LAST),
            1.. => (start, start.checked_add(self.len - 1).ok_or(Errno::EOVERFLOW)?),
            _ => (start.checked_add(self.len).filter(|&first| first >= 0).ok_or(Errno::EINVAL)?, start - 1),
        };
        Ok(Range {
            owner: current().files.lock_owner(),
            pid: current().pid,
            exclusive: self.kind == F_WRLCK,
            first: first.cast_unsigned(),
            last: last.cast_unsigned(),
        })
    }

    /// How `range` is told.
    fn tell(&mut self, range: &Range) {
        self.kind = if range.exclusive { F_WRLCK } else { F_RDLCK };
        self.whence = 0;
        self.start = range.first.cast_signed();
        let to_the_end = range.last == i64::MAX as u64;
        self.len = if to_the_end { 0 } else { (range.last - range.first + 1).cast_signed() };
        self.pid = range.pid.cast_signed();
    }
}

/// F_GETLK.
pub(super) fn get(file: &Description, address: u64) -> Result {
    let mut asked: Flock = user_memory::read(address)?;
    if !matches!(asked.kind, F_RDLCK | F_WRLCK) {
        return Err(Errno::EINVAL);
    }
    let wanted = asked.range(file)?;
    let inode = file.inode().ok_or(Errno::EINVAL)?;
    match inode.locks.conflict(&wanted) {
        Some(other) => asked.tell(&other),
        None => asked.kind = F_UNLCK,
    }
    user_memory::write(address, asked).map(|()| 0)
}

/// F_SETLK and, if it may `sleep`, F_SETLKW of the file open as `fd`.
pub(super) fn set(fd: u64, file: &Arc<Description>, address: u64, sleep: bool) -> Result {
    let asked: Flock = user_memory::read(address)?;
    let range = asked.range(file)?;
    let inode = file.inode().ok_or(Errno::EINVAL)?;
    match asked.kind {
        F_UNLCK => return inode.locks.unlock(&range).map(|()| 0),
        F_RDLCK if file.flags().readable() => {}
        F_WRLCK if file.flags().writable() => {}
        F_RDLCK | F_WRLCK => return Err(Errno::EBADF),
        _ => return Err(Errno::EINVAL),
    }
    inode.locks.lock(range, sleep)?;
    // Another thread may have closed it meanwhile, and taken no notice of this lock.
    if !current().files.get(fd).is_ok_and(|now| Arc::ptr_eq(&now, file)) {
        inode.locks.closed_by(range.owner);
        return Err(Errno::EBADF);
    }
    Ok(0)
}
