//! Open files, which dup and fork share.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicU32, Ordering};

use crate::errno::Errno;
use crate::fs::inode::Inode;
use crate::fs::path::Place;
use crate::fs::stat::Stat;
use crate::fs::text::WriteAccess;
use crate::fs::{File, OpenFlags};
use crate::mm::user_memory::Cursor;
use crate::task::Mutex;

/// An open file.
pub(crate) struct Description {
    /// The file that it is open on.
    pub(crate) file: Arc<dyn File>,
    /// The inode that was opened by name; none for pipes and sockets.
    named: Option<Arc<Inode>>,
    flags: AtomicU32,
    /// Whether the file has positions.
    is_seekable: bool,
    /// Guards the position over a whole read or write, as Linux does. Taken before the file's
    /// locks.
    position: Mutex<u64>,
    /// Keeps the file from being run while it may be written.
    _access: Option<WriteAccess>,
}

impl Description {
    /// A description of something without a name, at position 0.
    pub(crate) fn new(file: Arc<dyn File>, flags: OpenFlags) -> Arc<Self> {
        Self::with(file, None, flags, None)
    }

    /// A description of `named`, which was opened as `file`.
    pub(super) fn with(
        file: Arc<dyn File>,
        named: Option<Arc<Inode>>,
        flags: OpenFlags,
        access: Option<WriteAccess>,
    ) -> Arc<Self> {
        let flags = AtomicU32::new(flags.kept().bits());
        let is_seekable = file.is_seekable();
        Arc::new(Self { file, named, flags, is_seekable, position: Mutex::new(0), _access: access })
    }

    /// Its present flags.
    pub(crate) fn flags(&self) -> OpenFlags {
        // Relaxed: the word guards no other data.
        OpenFlags::from_bits_retain(self.flags.load(Ordering::Relaxed))
    }

    /// Changes the flags that fcntl may change.
    pub(crate) fn set_flags(&self, new: OpenFlags) {
        let kept = self.flags().difference(OpenFlags::CHANGEABLE);
        let flags = kept | new.intersection(OpenFlags::CHANGEABLE);
        self.flags.store(flags.bits(), Ordering::Relaxed);
    }

    /// The inode that it was opened by.
    pub(crate) fn inode(&self) -> Option<&Arc<Inode>> {
        self.named.as_ref()
    }

    /// The directory that it is, for paths relative to it. `ENOTDIR` of anything else.
    pub(crate) fn place(&self) -> Result<Place, Errno> {
        self.named.as_ref().ok_or(Errno::ENOTDIR).and_then(Place::of)
    }

    /// The answer of the stat calls.
    pub(crate) fn stat(&self) -> Stat {
        self.named.as_ref().map_or_else(|| self.file.stat(), |inode| inode.stat())
    }

    /// read, at the position or, for pread, at `at`. Returns the byte count.
    #[inline(always)]
    pub(crate) fn read(&self, to: &mut Cursor<'_>, at: Option<u64>) -> Result<u64, Errno> {
        let flags = self.flags();
        if !flags.readable() {
            return Err(Errno::EBADF);
        }
        let result = if self.is_seekable {
            self.read_at(to, at, flags)
        } else {
            no_position(at, to)?;
            self.file.read(to, 0, flags)
        };
        outcome(to.done(), result)
    }

    #[inline(never)]
    fn read_at(&self, to: &mut Cursor<'_>, at: Option<u64>, flags: OpenFlags) -> Result<(), Errno> {
        self.at_position(at, |at| {
            check_end(at, to.remaining())?;
            let result = self.file.read(to, at, flags);
            outcome(to.done(), result).map(|done| at + done)
        })
    }

    /// write, at the position or, for pwrite, at `at`; at the end with `APPEND`. Returns the byte
    /// count.
    #[inline(always)]
    pub(crate) fn write(&self, from: &mut Cursor<'_>, at: Option<u64>) -> Result<u64, Errno> {
        let flags = self.flags();
        if !flags.writable() {
            return Err(Errno::EBADF);
        }
        let result = if self.is_seekable {
            self.write_at(from, at, flags)
        } else {
            no_position(at, from)?;
            self.file.write(from, 0, flags)
        };
        outcome(from.done(), result)
    }

    #[inline(never)]
    fn write_at(&self, from: &mut Cursor<'_>, at: Option<u64>, flags: OpenFlags) -> Result<(), Errno> {
        self.at_position(at, |at| {
            check_end(at, from.remaining())?;
            if let Some(inode) = &self.named {
                return self.write_alone(inode, from, at, flags);
            }
            let result = self.file.write(from, at, flags);
            outcome(from.done(), result).map(|done| at + done)
        })
    }

    /// Writes to `inode` as its only writer, at `at` or at the present end. Returns the position
    /// behind the bytes.
    fn write_alone(
        &self,
        inode: &Inode,
        from: &mut Cursor<'_>,
        at: u64,
        flags: OpenFlags,
    ) -> Result<u64, Errno> {
        let _writing = inode.writing.lock();
        let appends = flags.contains(OpenFlags::APPEND) && from.remaining() > 0;
        let start = if appends { inode.size() } else { at };
        let result = self.file.write(from, start, flags);
        let done = outcome(from.done(), result)?;
        if done > 0 {
            inode.attributes.modified();
        }
        Ok(start + done)
    }

    /// Runs `io` at the position, which it moves, or at `at`. `io` returns the next position.
    #[inline(always)]
    fn at_position(&self, at: Option<u64>, io: impl FnOnce(u64) -> Result<u64, Errno>) -> Result<(), Errno> {
        if let Some(at) = at {
            return io(at).map(drop);
        }
        let mut position = self.position.lock();
        *position = io(*position)?;
        Ok(())
    }

    fn size(&self) -> u64 {
        self.named.as_ref().map_or(0, |inode| inode.size())
    }

    /// lseek: `whence` 0 from the start, 1 from here, 2 from the end, 3 and 4 to the next byte
    /// and the next hole: all before the end are bytes, and the hole begins at the end.
    ///
    /// # Errors
    /// As Linux: `ESPIPE`; `EINVAL` before the start, beyond all sizes, or of an unknown
    /// `whence`; `ENXIO` of 3 and 4 behind the end.
    pub(crate) fn seek(&self, offset: i64, whence: u64) -> Result<u64, Errno> {
        if !self.is_seekable {
            return Err(Errno::ESPIPE);
        }
        let mut position = self.position.lock();
        let (base, offset) = match whence as u32 {
            0 => (0, offset),
            1 => (*position, offset),
            2 => (self.size(), offset),
            3 | 4 if !(0..self.size() as i64).contains(&offset) => return Err(Errno::ENXIO),
            3 => (0, offset),
            4 => (self.size(), 0),
            _ => return Err(Errno::EINVAL),
        };
        let target = base.checked_add_signed(offset).filter(|&target| target <= i64::MAX as u64);
        *position = target.ok_or(Errno::EINVAL)?;
        Ok(*position)
    }

    /// Calls `walk` with the locked position, which it may move: for getdents64.
    pub(super) fn with_position<T>(&self, walk: impl FnOnce(&mut u64) -> T) -> T {
        walk(&mut self.position.lock())
    }

    /// The position that a record lock with `whence` is relative to.
    pub(crate) fn base_of(&self, whence: u16) -> Result<u64, Errno> {
        match whence {
            0 => Ok(0),
            1 => Ok(*self.position.lock()),
            2 => Ok(self.size()),
            _ => Err(Errno::EINVAL),
        }
    }
}

/// `ESPIPE` if a file without positions is to be read or written at one; `EINVAL` as
/// [`check_end`].
#[inline(always)]
fn no_position(at: Option<u64>, bytes: &Cursor<'_>) -> Result<(), Errno> {
    if at.is_some() { Err(Errno::ESPIPE) } else { check_end(0, bytes.remaining()) }
}

/// `EINVAL` if the bytes from `at` on go beyond the largest offset (Linux's `rw_verify_area`).
#[inline]
fn check_end(at: u64, bytes: usize) -> Result<(), Errno> {
    if at + bytes as u64 > i64::MAX as u64 { Err(Errno::EINVAL) } else { Ok(()) }
}

/// An error after some bytes is reported by the next call, if it persists.
fn outcome(done: usize, result: Result<(), Errno>) -> Result<u64, Errno> {
    match result {
        Err(errno) if done == 0 => Err(errno),
        _ => Ok(done as u64),
    }
}
