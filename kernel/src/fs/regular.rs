//! Open regular files and directories.
//!
//! Bytes go between user memory and the file's pages directly. The pages may be
//! mapped by programs that change them meanwhile, so they are never Rust slices.

use alloc::sync::Arc;

use powerpc64::addr::PAGE_SIZE;

use crate::errno::Errno;
use crate::fs::inode::Inode;
use crate::fs::path::Place;
use crate::fs::stat::Stat;
use crate::fs::{File, OpenFlags};
use crate::mm::Object;
use crate::process::user_memory::Cursor;

/// An open regular file.
pub(crate) struct RegularFile {
    pub(super) inode: Arc<Inode>,
    pub(super) object: Arc<Object>,
}

/// The part of `len` bytes at `at` that lies in the page of `at`: the page's
/// number, the offset in it, and the length.
fn in_page(at: u64, len: u64) -> (u64, usize, usize) {
    let offset = at % PAGE_SIZE;
    (at / PAGE_SIZE, offset as usize, len.min(PAGE_SIZE - offset) as usize)
}

impl File for RegularFile {
    fn read(&self, to: &mut Cursor<'_>, mut at: u64, _: OpenFlags) -> Result<(), Errno> {
        while to.remaining() > 0 {
            let left = self.object.len().saturating_sub(at);
            if left == 0 {
                break;
            }
            let (number, offset, bytes) = in_page(at, left);
            let page = self.object.page(number).map_err(|_| Errno::EIO)?;
            // SAFETY: inside the page, to which we hold a reference.
            at += unsafe { to.put_raw(page.as_mut_ptr().add(offset), bytes)? } as u64;
        }
        Ok(())
    }

    fn write(&self, from: &mut Cursor<'_>, mut at: u64, _: OpenFlags) -> Result<(), Errno> {
        while let Some(piece) = from.next_piece() {
            let (number, offset, bytes) = in_page(at, piece.len);
            let end = at.checked_add(bytes as u64).filter(|&end| end <= i64::MAX as u64);
            // The file must not grow for bytes that are not there.
            from.check_readable(bytes)?;
            let page = self.object.page_growing(number, end.ok_or(Errno::EFBIG)?)?;
            // SAFETY: inside the page, to which we hold a reference.
            at += unsafe { from.take_raw(page.as_mut_ptr().add(offset), bytes)? } as u64;
        }
        Ok(())
    }

    fn stat(&self) -> Stat {
        self.inode.stat()
    }

    fn is_seekable(&self) -> bool {
        true
    }

    fn object(&self) -> Result<Arc<Object>, Errno> {
        Ok(self.object.clone())
    }

    fn set_len(&self, len: u64) -> Result<(), Errno> {
        self.object.set_len(len);
        Ok(())
    }
}

/// An open directory.
pub(crate) struct DirectoryFile(pub(super) Place);

impl File for DirectoryFile {
    fn read(&self, _: &mut Cursor<'_>, _: u64, _: OpenFlags) -> Result<(), Errno> {
        Err(Errno::EISDIR)
    }

    fn stat(&self) -> Stat {
        self.0.inode().stat()
    }

    fn place(&self) -> Option<&Place> {
        Some(&self.0)
    }
}
