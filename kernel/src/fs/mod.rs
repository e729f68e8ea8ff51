//! Files: what descriptors stand for.
//!
//! A descriptor ([`table`]) names a *description* (position and flags; shared by
//! dup and fork), which has a [`File`]. Files with a name are [`inode`]s in one
//! tree in memory, filled from the initrd at boot; pipes and devices implement
//! [`File`] themselves.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicU32, Ordering};

use powerpc64::boot::MemoryRegion;

use crate::errno::Errno;
use crate::mm::Object;
use crate::process::user_memory::Cursor;
use crate::sync::Mutex;

mod cpus;
mod device;
pub(crate) mod eventfd;
mod initrd;
pub(crate) mod inode;
mod interrupts;
pub(crate) mod messages;
pub(crate) mod path;
pub(crate) mod pipe;
pub(crate) mod poll;
mod proc;
mod processes;
mod regular;
pub(crate) mod socket;
pub(crate) mod stat;
pub(crate) mod table;
pub(crate) mod tty;
mod use_mm;

use path::Place;
use poll::{Events, PollHead};
pub(crate) use processes::clock_ticks;
use stat::Stat;

bitflags::bitflags! {
    /// How a file was opened: Linux's `O_` flags for powerpc.
    #[derive(Clone, Copy, PartialEq, Eq)]
    pub(crate) struct OpenFlags: u32 {
        /// Not for reading, but for writing.
        const WRONLY = 0o1;
        /// For both.
        const RDWR = 0o2;
        /// Make it if there is none.
        const CREAT = 0o100;
        /// Fail if there is one.
        const EXCL = 0o200;
        /// Do not make it the controlling terminal; it never is.
        const NOCTTY = 0o400;
        /// Empty it.
        const TRUNC = 0o1000;
        /// Write at the end.
        const APPEND = 0o2000;
        /// Never sleep.
        const NONBLOCK = 0o4000;
        /// Fail if it is no directory.
        const DIRECTORY = 0o40000;
        /// Fail if the last name is a symbolic link.
        const NOFOLLOW = 0o100_000;
        /// Ignored on a 64-bit kernel.
        const LARGEFILE = 0o200_000;
        /// Around the page cache: the same to files in memory.
        const DIRECT = 0o400_000;
        /// Closed by exec; a flag of the descriptor.
        const CLOEXEC = 0o2_000_000;
    }
}

impl OpenFlags {
    /// What fcntl(F_SETFL) may change.
    pub(crate) const CHANGEABLE: OpenFlags = Self::APPEND.union(Self::NONBLOCK).union(Self::DIRECT);

    /// Whether it may be read.
    pub(crate) fn readable(self) -> bool {
        !self.contains(Self::WRONLY)
    }

    /// Whether it may be written.
    pub(crate) fn writable(self) -> bool {
        self.intersects(Self::WRONLY.union(Self::RDWR))
    }
}

/// What is behind a description. Methods may sleep.
///
/// `read` and `write` move bytes through the cursor; an error after some bytes
/// have moved is reported to the program as the short count. What a method's
/// default refuses, most files cannot do.
pub(crate) trait File: Send + Sync {
    /// Moves bytes out to the user, from position `at` of a seekable file.
    fn read(&self, _to: &mut Cursor<'_>, _at: u64, _flags: OpenFlags) -> Result<(), Errno> {
        Err(Errno::EINVAL)
    }

    /// Moves bytes in from the user, to position `at` of a seekable file.
    fn write(&self, _from: &mut Cursor<'_>, _at: u64, _flags: OpenFlags) -> Result<(), Errno> {
        Err(Errno::EINVAL)
    }

    /// What the stat calls tell.
    fn stat(&self) -> Stat;

    /// Whether it has positions.
    fn is_seekable(&self) -> bool {
        false
    }

    /// What would not block now.
    fn events(&self) -> Events {
        Events::IN | Events::OUT
    }

    /// Where a change of [`File::events`] is told; none if they never change.
    fn poll_head(&self) -> Option<&PollHead> {
        None
    }

    /// Its pages, for mmap.
    fn object(&self) -> Result<Arc<Object>, Errno> {
        Err(Errno::ENODEV)
    }

    /// Makes it `len` bytes long.
    fn set_len(&self, _len: u64) -> Result<(), Errno> {
        Err(Errno::EINVAL)
    }

    /// A device's own requests.
    fn ioctl(&self, _request: u64, _arg: u64) -> Result<u64, Errno> {
        Err(Errno::ENOTTY)
    }

    /// The directory that it is, for paths relative to it.
    fn place(&self) -> Option<&Place> {
        None
    }
}

/// An open file: what dup and fork share.
pub(crate) struct Description {
    /// What it is open on.
    pub(crate) file: Arc<dyn File>,
    flags: AtomicU32,
    /// Guards the position over a whole read or write, as Linux does. Taken
    /// before anything that the file locks.
    position: Mutex<u64>,
}

impl Description {
    /// A description at position 0.
    pub(crate) fn new(file: Arc<dyn File>, flags: OpenFlags) -> Arc<Self> {
        let kept =
            flags.difference(OpenFlags::CREAT | OpenFlags::EXCL | OpenFlags::TRUNC | OpenFlags::CLOEXEC);
        Arc::new(Self { file, flags: AtomicU32::new(kept.bits()), position: Mutex::new(0) })
    }

    /// How it is open now.
    pub(crate) fn flags(&self) -> OpenFlags {
        // Relaxed: a word of its own; nothing is reached through it.
        OpenFlags::from_bits_retain(self.flags.load(Ordering::Relaxed))
    }

    /// Changes what fcntl may change.
    pub(crate) fn set_flags(&self, new: OpenFlags) {
        let kept = self.flags().difference(OpenFlags::CHANGEABLE);
        let flags = kept | new.intersection(OpenFlags::CHANGEABLE);
        self.flags.store(flags.bits(), Ordering::Relaxed);
    }

    /// read, at the position or, for pread, at `at`. Returns the byte count.
    #[inline]
    pub(crate) fn read(&self, mut to: Cursor<'_>, at: Option<u64>) -> Result<u64, Errno> {
        let flags = self.flags();
        if !flags.readable() {
            return Err(Errno::EBADF);
        }
        self.at_position(at, false, |at| {
            let result = self.file.read(&mut to, at, flags);
            (to.done(), result)
        })
    }

    /// write, at the position or, for pwrite, at `at`. Returns the byte count.
    #[inline]
    pub(crate) fn write(&self, mut from: Cursor<'_>, at: Option<u64>) -> Result<u64, Errno> {
        let flags = self.flags();
        if !flags.writable() {
            return Err(Errno::EBADF);
        }
        let to_end = flags.contains(OpenFlags::APPEND);
        self.at_position(at, to_end, |at| {
            let result = self.file.write(&mut from, at, flags);
            (from.done(), result)
        })
    }

    /// Runs `io` at the position it has to start at, and moves the position.
    fn at_position(
        &self,
        at: Option<u64>,
        to_end: bool,
        io: impl FnOnce(u64) -> (usize, Result<(), Errno>),
    ) -> Result<u64, Errno> {
        let outcome = |(done, result): (usize, Result<(), Errno>)| match result {
            Err(errno) if done == 0 => Err(errno),
            // An error after some bytes is seen by the next call, if it stays.
            _ => Ok(done as u64),
        };
        match (self.file.is_seekable(), at) {
            (false, None) => outcome(io(0)),
            (false, Some(_)) => Err(Errno::ESPIPE),
            (true, Some(at)) => outcome(io(at)),
            (true, None) => {
                let mut position = self.position.lock();
                if to_end {
                    *position = self.file.stat().size;
                }
                let result = outcome(io(*position));
                *position += result.unwrap_or(0);
                result
            }
        }
    }

    /// lseek: `whence` 0 from the start, 1 from here, 2 from the end.
    pub(crate) fn seek(&self, offset: i64, whence: u64) -> Result<u64, Errno> {
        if !self.file.is_seekable() {
            return Err(Errno::ESPIPE);
        }
        let mut position = self.position.lock();
        let base = match whence {
            0 => 0,
            1 => *position,
            2 => self.file.stat().size,
            _ => return Err(Errno::EINVAL),
        };
        let target = base.checked_add_signed(offset).filter(|&target| target <= i64::MAX as u64);
        *position = target.ok_or(Errno::EINVAL)?;
        Ok(*position)
    }
}

/// Fills the tree: the initrd's files first, then ours. On the boot CPU, before
/// there are programs. Trouble with the initrd is one line; whether anything is
/// missing, the start of init will tell.
pub(crate) fn init(initrd: Option<MemoryRegion>) {
    inode::init();
    match initrd {
        None => crate::println!("no initrd: start with -initrd, a cpio archive (newc)"),
        Some(region) => {
            // SAFETY: the firmware put the initrd there, and the boot reserves it
            // for ever; nobody writes to it.
            let archive = unsafe {
                core::slice::from_raw_parts(region.base.as_mut_ptr::<u8>().cast_const(), region.size as usize)
            };
            if let Err(error) = initrd::init(archive) {
                crate::println!("initrd: {error}");
            }
        }
    }
    let own = device::init().and_then(|()| proc::init()).and_then(|()| cpus::init());
    if let Err(errno) = own {
        crate::println!("initrd: a file is in the way of /dev, /proc or /sys: {errno}");
    }
}
