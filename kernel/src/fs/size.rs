//! Changes of a file's length by other calls than write.

use crate::errno::Errno;
use crate::fs::inode::{Inode, Kind};
use crate::fs::limits;
use crate::mm::Object;

impl Inode {
    /// Makes it `len` bytes long: truncate. Cut bytes are gone; they read as zeroes if the file
    /// grows again. May sleep.
    ///
    /// # Errors
    /// `EISDIR`, and `EINVAL` for other inodes that are not regular files; `EFBIG`, with a
    /// signal, beyond the limit of the process.
    pub(crate) fn set_len(&self, len: u64) -> Result<(), Errno> {
        let object = self.object_to_change()?;
        let _writing = self.writing.lock();
        limits::check_growth(object.len(), len)?;
        object.set_len(len);
        self.attributes.modified();
        Ok(())
    }

    /// fallocate: gives the bytes from `start` to `end` memory. Unless `keep_size`, the file
    /// grows for them. May sleep.
    ///
    /// # Errors
    /// As [`Inode::set_len`]; `ENOSPC` without memory: the file keeps its length.
    pub(crate) fn allocate(&self, start: u64, end: u64, keep_size: bool) -> Result<(), Errno> {
        let object = self.object_to_change()?;
        let _writing = self.writing.lock();
        let len = if keep_size { object.len() } else { object.len().max(end) };
        limits::check_growth(object.len(), len)?;
        object.allocate(start, end)?;
        if len > object.len() {
            object.set_len(len);
        }
        self.attributes.modified();
        Ok(())
    }

    fn object_to_change(&self) -> Result<&Object, Errno> {
        match &self.kind {
            Kind::Regular(_) if self.is_fixed() => Err(Errno::EROFS),
            Kind::Regular(object) => Ok(object),
            Kind::Directory(_) => Err(Errno::EISDIR),
            _ => Err(Errno::EINVAL),
        }
    }
}
