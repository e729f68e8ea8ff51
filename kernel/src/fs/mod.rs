//! Files, which descriptors stand for.
//!
//! A descriptor ([`table`]) names a [`Description`] (position and flags; shared by dup and fork),
//! which has a [`File`]. Files with a name are [`inode`]s in one tree in memory, filled from the
//! initrd at boot; pipes and devices implement [`File`] themselves.

use alloc::sync::Arc;

use arch::boot::MemoryRegion;

use crate::errno::Errno;
use crate::mm::Object;
use crate::mm::user_memory::Cursor;

pub(crate) mod attributes;
mod channel;
mod description;
pub(crate) mod directory;
pub(crate) mod eventfd;
mod initrd;
pub(crate) mod inode;
pub(crate) mod limits;
pub(crate) mod listing;
pub(crate) mod lock;
pub(crate) mod messages;
pub(crate) mod open;
pub(crate) mod path;
pub(crate) mod pipe;
pub(crate) mod poll;
mod regular;
pub(crate) mod rename;
mod size;
pub(crate) mod stat;
pub(crate) mod table;
pub(crate) mod table_use;
pub(crate) mod text;

pub(crate) use description::Description;
pub(crate) use files::flags::OpenFlags;

use poll::{Events, PollHead};

use stat::{S_IFREG, Stat};

/// The file behind a description. Methods may sleep. If it was opened by name, a write has the
/// inode's lock for writing.
///
/// `read` and `write` move bytes through the cursor; an error after some bytes have moved is
/// reported to the program as the short count. A method's default refuses an operation that most
/// files lack.
pub(crate) trait File: Send + Sync {
    /// Moves bytes out to the user, from position `at` of a seekable file.
    fn read(&self, _to: &mut Cursor<'_>, _at: u64, _flags: OpenFlags) -> Result<(), Errno> {
        Err(Errno::EINVAL)
    }

    /// Moves bytes in from the user, to position `at` of a seekable file.
    fn write(&self, _from: &mut Cursor<'_>, _at: u64, _flags: OpenFlags) -> Result<(), Errno> {
        Err(Errno::EINVAL)
    }

    /// The answer of the stat calls for a file without a name; other files' inodes have it.
    fn stat(&self) -> Stat {
        Stat::anonymous(S_IFREG, 0)
    }

    /// Whether it has positions.
    fn is_seekable(&self) -> bool {
        false
    }

    /// The accesses that would not block now.
    fn events(&self) -> Events {
        Events::IN | Events::OUT
    }

    /// The head that is notified of changes of [`File::events`]; none if they never change.
    fn poll_head(&self) -> Option<&PollHead> {
        None
    }

    /// Its pages, for mmap.
    fn object(&self) -> Result<Arc<Object>, Errno> {
        Err(Errno::ENODEV)
    }

    /// A device's own requests.
    fn ioctl(&self, _request: u64, _arg: u64) -> Result<u64, Errno> {
        Err(Errno::ENOTTY)
    }
}

/// Fills the tree: the initrd's files first, then ours. On the boot CPU, before there are
/// programs. Trouble with the initrd is reported in one line; the start of init shows whether a
/// file is missing.
pub(crate) fn init(initrd: Option<MemoryRegion>) {
    inode::init();
    match initrd {
        None => crate::println!("no initrd: start with -initrd, a cpio archive (newc)"),
        Some(region) => {
            // SAFETY: the firmware put the initrd there, and the boot reserves it for ever; no
            // code writes to it.
            let archive = unsafe {
                core::slice::from_raw_parts(region.base.as_mut_ptr::<u8>().cast_const(), region.size as usize)
            };
            if let Err(error) = initrd::init(archive) {
                crate::println!("initrd: {error}");
            }
        }
    }
}
