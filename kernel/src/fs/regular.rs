//! Open regular files and directories.
//!
//! Bytes go between user memory and the file's pages directly. The pages may be
//! mapped by programs that change them meanwhile, so they are never Rust slices.

use alloc::sync::Arc;

use arch::addr::PAGE_SIZE;

use crate::errno::Errno;
use crate::fs::{File, OpenFlags, limits};
use crate::mm::user_memory::Cursor;
use crate::mm::{FaultError, Object};

/// An open regular file: its contents.
pub(super) struct RegularFile(pub(super) Arc<Object>);

/// The part of `len` bytes at `at` that lies in the page of `at`: the page's
/// number, the offset in it, and the length.
fn in_page(at: u64, len: u64) -> (u64, usize, usize) {
    let offset = at % PAGE_SIZE;
    (at / PAGE_SIZE, offset as usize, len.min(PAGE_SIZE - offset) as usize)
}

impl File for RegularFile {
    /// Takes no lock of the writers. The page comes first, then the length: bytes before the
    /// length were in the page when the length was published (Linux's `filemap_read`).
    fn read(&self, to: &mut Cursor<'_>, mut at: u64, _: OpenFlags) -> Result<(), Errno> {
        while to.remaining() > 0 {
            let page = match self.0.page(at / PAGE_SIZE) {
                Ok(page) => page,
                Err(FaultError::Bus) => break,
                Err(_) => return Err(Errno::ENOMEM),
            };
            let left = self.0.len().saturating_sub(at);
            if left == 0 {
                break;
            }
            let (_, offset, bytes) = in_page(at, left);
            // SAFETY: inside the page, to which we hold a reference.
            at += unsafe { to.put_raw(page.as_mut_ptr().add(offset), bytes)? } as u64;
        }
        Ok(())
    }

    /// The caller holds the inode's `writing`. The file grows after its bytes are stored: a
    /// reader sees only bytes that were written.
    fn write(&self, from: &mut Cursor<'_>, mut at: u64, _: OpenFlags) -> Result<(), Errno> {
        let limit = limits::max_file_size();
        while let Some(piece) = from.next_piece() {
            let room = limit.saturating_sub(at);
            if room == 0 {
                return Err(if from.done() == 0 { limits::too_large() } else { Errno::EFBIG });
            }
            let (number, offset, bytes) = in_page(at, piece.len.min(room));
            let page = self.0.page_to_write(number, at)?;
            let before = from.done();
            // SAFETY: inside the page, to which we hold a reference.
            let result = unsafe { from.take_raw(page.as_mut_ptr().add(offset), bytes) };
            let moved = from.done() - before;
            at += moved as u64;
            if moved > 0 {
                self.0.grow(at);
            }
            result?;
        }
        Ok(())
    }

    fn is_seekable(&self) -> bool {
        true
    }

    fn object(&self) -> Result<Arc<Object>, Errno> {
        Ok(self.0.clone())
    }
}

/// An open directory.
pub(super) struct DirectoryFile;

impl File for DirectoryFile {
    fn read(&self, _: &mut Cursor<'_>, _: u64, _: OpenFlags) -> Result<(), Errno> {
        Err(Errno::EISDIR)
    }

    fn is_seekable(&self) -> bool {
        true
    }
}

/// The file of a descriptor that was opened with `O_PATH`: it can do nothing.
pub(super) struct NameOnly;

impl File for NameOnly {}
