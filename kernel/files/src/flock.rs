//! A record lock as programs ask for it.

use crate::errno::Errno;
use crate::lock_ranges::{Owner, Range};

/// A shared lock.
pub const F_RDLCK: i16 = 0;
/// An exclusive lock.
pub const F_WRLCK: i16 = 1;
/// No lock.
pub const F_UNLCK: i16 = 2;

/// Linux's `struct flock` for ppc64.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Flock {
    /// One of the three kinds.
    pub kind: i16,
    /// What `start` is relative to.
    pub whence: u16,
    /// 0, padding.
    pub pad: u32,
    /// The first byte.
    pub start: i64,
    /// How many bytes. Negative: the bytes before `start`. 0: all to the end.
    pub len: i64,
    /// The process that has the lock.
    pub pid: u32,
    /// 0, padding.
    pub end_pad: u32,
}

const _: () = assert!(size_of::<Flock>() == 32);

impl Flock {
    /// The lock that `owner`, the process `pid`, wants of a file; `start` is relative to the
    /// file's byte `base` (Linux's `flock64_to_posix_lock`).
    ///
    /// # Errors
    /// `EINVAL` before the start of the file, `EOVERFLOW` behind the end of all offsets.
    pub fn range(&self, base: u64, owner: Owner, pid: u32) -> Result<Range, Errno> {
        let start = base.cast_signed().checked_add(self.start).ok_or(Errno::EOVERFLOW)?;
        if start < 0 {
            return Err(Errno::EINVAL);
        }
        let (first, last) = match self.len {
            0 => (start, i64::MAX),
            1.. => (start, start.checked_add(self.len - 1).ok_or(Errno::EOVERFLOW)?),
            _ => (start.checked_add(self.len).filter(|&first| first >= 0).ok_or(Errno::EINVAL)?, start - 1),
        };
        let (first, last) = (first.cast_unsigned(), last.cast_unsigned());
        Ok(Range { owner, pid, exclusive: self.kind == F_WRLCK, first, last })
    }

    /// `range` as programs read it.
    pub fn tell(&mut self, range: &Range) {
        self.kind = if range.exclusive { F_WRLCK } else { F_RDLCK };
        self.whence = 0;
        self.start = range.first.cast_signed();
        let to_the_end = range.last == i64::MAX as u64;
        self.len = if to_the_end { 0 } else { (range.last - range.first + 1).cast_signed() };
        self.pid = range.pid;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(start: i64, len: i64) -> Flock {
        Flock { kind: F_WRLCK, whence: 0, pad: 0, start, len, pid: 0, end_pad: 0 }
    }

    fn bytes(base: u64, start: i64, len: i64) -> Result<(u64, u64), Errno> {
        asked(start, len).range(base, Owner(1), 2).map(|range| (range.first, range.last))
    }

    #[test]
    fn which_bytes() {
        const LAST: u64 = i64::MAX as u64;
        assert_eq!(bytes(0, 10, 5), Ok((10, 14)));
        assert_eq!(bytes(100, -10, 1), Ok((90, 90)));
        assert_eq!(bytes(0, 10, 0), Ok((10, LAST)));
        assert_eq!(bytes(0, 10, -10), Ok((0, 9)));
        assert_eq!(bytes(LAST, 0, 1), Ok((LAST, LAST)));
    }

    #[test]
    fn which_are_refused() {
        assert_eq!(bytes(0, -1, 1), Err(Errno::EINVAL));
        assert_eq!(bytes(0, 10, -11), Err(Errno::EINVAL));
        assert_eq!(bytes(0, 0, i64::MIN), Err(Errno::EINVAL));
        assert_eq!(bytes(1, i64::MAX, 1), Err(Errno::EOVERFLOW));
        assert_eq!(bytes(0, 2, i64::MAX), Err(Errno::EOVERFLOW));
    }

    #[test]
    fn told_and_asked_again() {
        for (start, len) in [(10, 5), (0, 0), (3, 0), (0, 1)] {
            let range = asked(start, len).range(0, Owner(1), 2).unwrap();
            assert!(range.exclusive && range.pid == 2);
            let mut told = Flock { whence: 2, ..asked(99, 99) };
            told.tell(&range);
            assert_eq!(told, Flock { pid: 2, ..asked(start, len) });
        }
        let shared = Flock { kind: F_RDLCK, ..asked(0, 1) }.range(0, Owner(1), 2).unwrap();
        let mut told = asked(0, 0);
        told.tell(&shared);
        assert_eq!(told.kind, F_RDLCK);
    }
}
