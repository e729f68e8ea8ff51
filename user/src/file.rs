//! Descriptors: open, read, write, close, pipe, dup.

use core::ffi::CStr;

use crate::sys::{Errno, nr, syscall};

/// Standard input.
pub const STDIN: Fd = Fd(0);
/// Standard output.
pub const STDOUT: Fd = Fd(1);
/// Standard error.
pub const STDERR: Fd = Fd(2);

/// A descriptor, by number. Copies name one descriptor; `close` is explicit.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Fd(pub i32);

const AT_FDCWD: i32 = -100;
const O_RDONLY: usize = 0;
const O_WRONLY: usize = 1;

/// Opens `path` for reading.
///
/// # Errors
/// `ENOENT` where there is none, and openat's others.
pub fn open(path: &CStr) -> Result<Fd, Errno> {
    open_with(path, O_RDONLY)
}

/// Opens `path`, which must exist, for writing.
///
/// # Errors
/// Those of [`open`].
pub fn open_for_writing(path: &CStr) -> Result<Fd, Errno> {
    open_with(path, O_WRONLY)
}

fn open_with(path: &CStr, flags: usize) -> Result<Fd, Errno> {
    let args = [AT_FDCWD as usize, path.as_ptr() as usize, flags, 0, 0, 0];
    // SAFETY: the path is a live string; the kernel only reads it.
    unsafe { syscall(nr::OPENAT, args) }.map(|fd| Fd(fd as i32))
}

/// Makes a pipe: bytes written to the second end come out of the first.
///
/// # Errors
/// `EMFILE` without descriptors left.
pub fn pipe() -> Result<(Fd, Fd), Errno> {
    let mut ends = [0i32; 2];
    // SAFETY: the kernel writes two numbers, which is the array's size.
    unsafe { syscall(nr::PIPE2, [ends.as_mut_ptr() as usize, 0, 0, 0, 0, 0]) }?;
    Ok((Fd(ends[0]), Fd(ends[1])))
}

impl Fd {
    /// Reads at most `buffer.len()` bytes; 0 is the end.
    ///
    /// # Errors
    /// read's.
    pub fn read(self, buffer: &mut [u8]) -> Result<usize, Errno> {
        // SAFETY: the buffer is ours to overwrite.
        unsafe { self.read_at(buffer.as_mut_ptr() as usize, buffer.len()) }
    }

    /// Reads to an address that need not be mapped: for tests of `EFAULT`.
    ///
    /// # Errors
    /// read's; `EFAULT` if the address is bad.
    ///
    /// # Safety
    /// Mapped bytes among the `len` at `address` are the caller's to lose.
    pub unsafe fn read_at(self, address: usize, len: usize) -> Result<usize, Errno> {
        // SAFETY: the caller's promise.
        unsafe { syscall(nr::READ, [self.0 as usize, address, len, 0, 0, 0]) }
    }

    /// Reads until `buffer` is full or the end, through short reads.
    ///
    /// # Errors
    /// read's.
    pub fn read_full(self, buffer: &mut [u8]) -> Result<usize, Errno> {
        let mut have = 0;
        while have < buffer.len() {
            match self.read(&mut buffer[have..])? {
                0 => break,
                count => have += count,
            }
        }
        Ok(have)
    }

    /// Writes at most `bytes.len()` bytes.
    ///
    /// # Errors
    /// write's; `EPIPE` if the pipe has no reader and SIGPIPE is ignored.
    pub fn write(self, bytes: &[u8]) -> Result<usize, Errno> {
        self.write_at(bytes.as_ptr() as usize, bytes.len())
    }

    /// Writes from an address that need not be mapped: for tests of `EFAULT`.
    ///
    /// # Errors
    /// write's; `EFAULT` if the address is bad.
    pub fn write_at(self, address: usize, len: usize) -> Result<usize, Errno> {
        // SAFETY: the kernel only reads, and refuses addresses that are not mapped.
        unsafe { syscall(nr::WRITE, [self.0 as usize, address, len, 0, 0, 0]) }
    }

    /// Writes all of `bytes`, through short writes.
    ///
    /// # Errors
    /// write's.
    pub fn write_all(self, mut bytes: &[u8]) -> Result<(), Errno> {
        while !bytes.is_empty() {
            let done = self.write(bytes)?;
            bytes = &bytes[done..];
        }
        Ok(())
    }

    /// Another descriptor of this open file, the lowest free.
    ///
    /// # Errors
    /// `EBADF`, `EMFILE`.
    pub fn dup(self) -> Result<Fd, Errno> {
        // SAFETY: touches no memory.
        unsafe { syscall(nr::DUP, [self.0 as usize, 0, 0, 0, 0, 0]) }.map(|fd| Fd(fd as i32))
    }

    /// Gives the descriptor back. Its other copies are then stale.
    ///
    /// # Errors
    /// `EBADF` if it was not open.
    pub fn close(self) -> Result<(), Errno> {
        // SAFETY: touches no memory.
        unsafe { syscall(nr::CLOSE, [self.0 as usize, 0, 0, 0, 0, 0]) }.map(drop)
    }
}
