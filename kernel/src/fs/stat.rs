//! The answer of the stat calls about a file.

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

/// The unit in which stat counts memory.
pub(crate) const BLOCK_BYTES: u64 = 512;

/// The answer, as Linux's `struct stat` for ppc64 (arch/powerpc/include/uapi/asm/stat.h).
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Stat {
    /// The device that it is on: all are on one.
    pub(super) on_device: u64,
    /// Number of the inode.
    pub(super) inode: u64,
    /// How many names it has.
    pub(super) links: u64,
    /// Kind and permissions.
    pub(crate) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) pad: u32,
    /// The device it is, for device files: major << 8 | minor.
    pub(super) device: u64,
    /// Bytes.
    pub(super) size: u64,
    pub(super) transfer_bytes: u64,
    /// Memory that it takes, in blocks of [`BLOCK_BYTES`].
    pub(super) blocks: u64,
    /// Last access, modification and change: seconds and nanoseconds.
    pub(super) times: [[i64; 2]; 3],
    pub(super) unused: [u64; 3],
}

// SAFETY: no padding (the one gap is a field), integers only.
unsafe impl Plain for Stat {}
const _: () = assert!(size_of::<Stat>() == 144);

impl Stat {
    /// The answer for a file without a name, a pipe for example; `device` is 0 unless it is a
    /// device.
    pub(crate) fn anonymous(mode: u32, device: u64) -> Self {
        Stat {
            on_device: 1,
            inode: 1,
            links: 1,
            mode,
            uid: 0,
            gid: 0,
            pad: 0,
            device,
            size: 0,
            transfer_bytes: PAGE_SIZE,
            blocks: 0,
            times: [[0; 2]; 3],
            unused: [0; 3],
        }
    }
}
