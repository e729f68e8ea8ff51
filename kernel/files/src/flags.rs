//! How a file is opened.

use crate::errno::Errno;

bitflags::bitflags! {
    /// Linux's `O_` flags for powerpc. As in Linux, open ignores bits that are not here.
    #[derive(Clone, Copy, PartialEq, Eq)]
    pub struct OpenFlags: u32 {
        /// For writing only.
        const WRONLY = 0o1;
        /// For reading and writing.
        const RDWR = 0o2;
        /// Make the file if there is none.
        const CREAT = 0o100;
        /// Fail if there is a file of that name.
        const EXCL = 0o200;
        /// Do not make the terminal the controlling one; open never does.
        const NOCTTY = 0o400;
        /// Empty the file.
        const TRUNC = 0o1000;
        /// Write at the end.
        const APPEND = 0o2000;
        /// Never sleep.
        const NONBLOCK = 0o4000;
        /// A write is on the disk when it returns: memory is all there is.
        const DSYNC = 0o10000;
        /// Fail if the name is no directory's.
        const DIRECTORY = 0o40000;
        /// Fail if the last name is a symbolic link.
        const NOFOLLOW = 0o100_000;
        /// F_GETFL reports it of every file that open made, as on every 64-bit kernel.
        const LARGEFILE = 0o200_000;
        /// Around the page cache: makes no difference to files in memory.
        const DIRECT = 0o400_000;
        /// Reads do not change the access time: they never do.
        const NOATIME = 0o1_000_000;
        /// Closed by exec; a flag of the descriptor.
        const CLOEXEC = 0o2_000_000;
        /// With DSYNC, `O_SYNC`.
        const SYNC = 0o4_000_000;
        /// Only the name: a place in the tree, or something to stat.
        const PATH = 0o10_000_000;
        /// A file without a name.
        const TMPFILE = 0o20_000_000;
    }
}

impl OpenFlags {
    /// What fcntl(F_SETFL) may change (Linux's `SETFL_MASK`).
    pub const CHANGEABLE: Self = Self::APPEND.union(Self::NONBLOCK).union(Self::DIRECT).union(Self::NOATIME);
    /// The flags that concern the open itself only.
    const ONCE: Self =
        Self::CREAT.union(Self::EXCL).union(Self::NOCTTY).union(Self::TRUNC).union(Self::CLOEXEC);
    /// The flags that count beside PATH.
    const OF_PATH: Self = Self::PATH.union(Self::DIRECTORY).union(Self::NOFOLLOW).union(Self::CLOEXEC);

    /// The flags of a call that opens a name (Linux's `build_open_flags`).
    ///
    /// # Errors
    /// `EINVAL` for a directory that is to be made, `EOPNOTSUPP` for a file without name.
    pub fn of_open(bits: u64) -> Result<Self, Errno> {
        let flags = Self::from_bits_truncate(bits as u32) | Self::LARGEFILE;
        if flags.contains(Self::PATH) {
            return Ok(flags & Self::OF_PATH);
        }
        if flags.contains(Self::TMPFILE) {
            return Err(Errno::EOPNOTSUPP);
        }
        if flags.contains(Self::CREAT | Self::DIRECTORY) {
            return Err(Errno::EINVAL);
        }
        Ok(flags)
    }

    /// What F_GETFL reports.
    #[must_use]
    pub fn kept(self) -> Self {
        self.difference(Self::ONCE)
    }

    /// Whether it may be read. With both WRONLY and RDWR there are only ioctls, as in Linux; with PATH
    /// there is only the name.
    pub fn readable(self) -> bool {
        !self.intersects(Self::WRONLY | Self::PATH)
    }

    /// Whether it may be written; not with PATH, which comes without both.
    pub fn writable(self) -> bool {
        self.intersection(Self::WRONLY | Self::RDWR).bits().wrapping_add(1) & 2 != 0
    }

    /// Whether it is opened for more than reading.
    pub fn is_for_change(self) -> bool {
        self.intersects(Self::WRONLY | Self::RDWR | Self::TRUNC)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_read_and_written() {
        let may = |bits| {
            let flags = OpenFlags::from_bits_retain(bits);
            (flags.readable(), flags.writable())
        };
        assert_eq!([0, 1, 2, 3].map(may), [(true, false), (false, true), (true, true), (false, false)]);
        assert_eq!(may(OpenFlags::APPEND.bits() | 1), (false, true));
        assert_eq!(may(OpenFlags::PATH.bits()), (false, false));
    }

    #[test]
    fn how_a_name_is_opened() {
        let open = |flags: OpenFlags| OpenFlags::of_open(flags.bits().into());
        let with = OpenFlags::RDWR | OpenFlags::CREAT | OpenFlags::CLOEXEC;
        assert!(open(with) == Ok(with | OpenFlags::LARGEFILE));
        assert!(with.kept() == OpenFlags::RDWR);
        // Bits that are no flags are ignored, and so are those that concern the open itself.
        assert!(OpenFlags::of_open(1 << 31) == Ok(OpenFlags::LARGEFILE));
        let name = OpenFlags::PATH | OpenFlags::NOFOLLOW;
        assert!(open(name | OpenFlags::RDWR | OpenFlags::CREAT | OpenFlags::TMPFILE) == Ok(name));
        assert!(open(OpenFlags::TMPFILE | OpenFlags::DIRECTORY) == Err(Errno::EOPNOTSUPP));
        assert!(open(OpenFlags::CREAT | OpenFlags::DIRECTORY) == Err(Errno::EINVAL));
        assert!(open(OpenFlags::DIRECTORY).is_ok());
    }

    #[test]
    fn what_is_for_change() {
        let changes = [OpenFlags::WRONLY, OpenFlags::RDWR, OpenFlags::TRUNC].map(OpenFlags::is_for_change);
        assert_eq!(changes, [true; 3]);
        assert!(!(OpenFlags::APPEND | OpenFlags::CREAT).is_for_change());
    }
}
