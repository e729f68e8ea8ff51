//! What the stat calls tell about a file.

use arch::addr::PAGE_SIZE;

use crate::fs::attributes::TimeNs;
use crate::mm::user_memory::Plain;

/// Nanoseconds of a second.
pub(crate) const SECOND_NS: TimeNs = 1_000_000_000;

/// The bits of a mode that are the file's kind.
pub(crate) const S_IFMT: u32 = 0o170_000;
/// A pipe.
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
    /// Its owner.
    pub(crate) uid: u32,
    /// Its group.
    pub(crate) gid: u32,
    /// The device it is, for device files: major << 8 | minor.
    pub(crate) device: u64,
    /// Bytes.
    pub(crate) size: u64,
    /// Memory that it has, in blocks of [`BLOCK_BYTES`].
    pub(crate) blocks: u64,
    /// Last access, modification and change.
    pub(crate) times: [TimeNs; 3],
}

/// What stat counts in.
pub(crate) const BLOCK_BYTES: u64 = 512;

impl Stat {
    /// Of something without a name: a pipe, a generated file.
    pub(crate) fn anonymous(mode: u32) -> Self {
        Stat { inode: 1, mode, links: 1, uid: 0, gid: 0, device: 0, size: 0, blocks: 0, times: [0; 3] }
    }
}

/// The device that all files are on.
const DEVICE: u64 = 1;

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
    /// Seconds and nanoseconds of each.
    times: [[i64; 2]; 3],
    unused: [u64; 3],
}

// SAFETY: no padding (the one gap is a field), integers only.
unsafe impl Plain for LinuxStat {}
const _: () = assert!(size_of::<LinuxStat>() == 144);

impl From<Stat> for LinuxStat {
    fn from(stat: Stat) -> Self {
        LinuxStat {
            dev: DEVICE,
            ino: stat.inode,
            nlink: stat.links,
            mode: stat.mode,
            uid: stat.uid,
            gid: stat.gid,
            pad: 0,
            rdev: stat.device,
            size: stat.size,
            blksize: PAGE_SIZE,
            blocks: stat.blocks,
            times: stat.times.map(|ns| [ns.div_euclid(SECOND_NS), ns.rem_euclid(SECOND_NS)]),
            unused: [0; 3],
        }
    }
}
