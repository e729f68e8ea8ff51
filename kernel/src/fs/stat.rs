//! What the stat calls tell about a file.

use crate::process::user_memory::Plain;

/// A file's kind, as bits of its mode.
pub(crate) const S_IFIFO: u32 = 0o010_000;
/// A character device.
pub(crate) const S_IFCHR: u32 = 0o020_000;
/// A directory.
pub(crate) const S_IFDIR: u32 = 0o040_000;
/// A regular file.
pub(crate) const S_IFREG: u32 = 0o100_000;
/// A symbolic link.
pub(crate) const S_IFLNK: u32 = 0o120_000;

/// A socket.
pub(crate) const S_IFSOCK: u32 = 0o140_000;

/// What is known of a file.
#[derive(Clone, Copy)]
pub(crate) struct Stat {
    /// Number of the inode.
    pub(crate) inode: u64,
    /// Kind and permissions.
    pub(crate) mode: u32,
    /// How many names it has.
    pub(crate) links: u64,
    /// The device it is, for device files: major << 8 | minor.
    pub(crate) device: u64,
    /// Bytes.
    pub(crate) size: u64,
}

impl Stat {
    /// Of something without a name: a pipe, a generated file.
    pub(crate) fn anonymous(mode: u32) -> Self {
        Stat { inode: 1, mode, links: 1, device: 0, size: 0 }
    }
}

/// Linux's `struct stat` for ppc64 (arch/powerpc/include/uapi/asm/stat.h).
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct LinuxStat {
    dev: u64,
    ino: u64,
    nlink: u64,
    mode: u32,
    uid: u32,
    gid: u32,
    pad: u32,
    rdev: u64,
    size: u64,
    blksize: u64,
    blocks: u64,
    times: [u64; 6],
    unused: [u64; 3],
}

// SAFETY: no padding (the one gap is a field), integers only.
unsafe impl Plain for LinuxStat {}
const _: () = assert!(size_of::<LinuxStat>() == 144);

impl From<Stat> for LinuxStat {
    fn from(stat: Stat) -> Self {
        LinuxStat {
            dev: 1,
            ino: stat.inode,
            nlink: stat.links,
            mode: stat.mode,
            uid: 0,
            gid: 0,
            pad: 0,
            rdev: stat.device,
            size: stat.size,
            blksize: 4096,
            blocks: stat.size.div_ceil(512),
            times: [0; 6],
            unused: [0; 3],
        }
    }
}
