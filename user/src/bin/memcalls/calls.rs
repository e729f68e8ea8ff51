//! Calls by number, with their answers: a value, or an error number below 0.

use user::memory::PAGE;
use user::sys::answer;
use user::{Verdict, ensure};

pub(crate) const OPEN: usize = 5;
pub(crate) const CLOSE: usize = 6;
pub(crate) const UNLINK: usize = 10;
pub(crate) const ACCESS: usize = 33;
pub(crate) const MMAP: usize = 90;
pub(crate) const MUNMAP: usize = 91;
pub(crate) const FTRUNCATE: usize = 93;
pub(crate) const IPC: usize = 117;
pub(crate) const MPROTECT: usize = 125;
pub(crate) const MSYNC: usize = 144;
pub(crate) const MLOCK: usize = 150;
pub(crate) const MUNLOCK: usize = 151;
pub(crate) const MLOCKALL: usize = 152;
pub(crate) const MUNLOCKALL: usize = 153;
pub(crate) const MREMAP: usize = 163;
pub(crate) const MADVISE: usize = 205;
pub(crate) const MINCORE: usize = 206;
pub(crate) const GETRANDOM: usize = 359;
pub(crate) const MLOCK2: usize = 378;

pub(crate) const EPERM: isize = -1;
pub(crate) const ENOENT: isize = -2;
pub(crate) const EBADF: isize = -9;
pub(crate) const ENOMEM: isize = -12;
pub(crate) const EACCES: isize = -13;
pub(crate) const EFAULT: isize = -14;
pub(crate) const EEXIST: isize = -17;
pub(crate) const EINVAL: isize = -22;
pub(crate) const EOVERFLOW: isize = -75;
pub(crate) const EOPNOTSUPP: isize = -95;

pub(crate) const NONE: usize = 0;
pub(crate) const READ: usize = 1;
pub(crate) const READ_WRITE: usize = 3;

pub(crate) const SHARED: usize = 1;
pub(crate) const PRIVATE: usize = 2;
pub(crate) const FIXED: usize = 0x10;
pub(crate) const ANONYMOUS: usize = 0x20;

/// Makes the call. The programs of this folder pass only memory that they mapped for
/// the purpose, and look at it by `peek` and `poke` alone.
pub(crate) fn call(nr: usize, args: &[usize]) -> isize {
    // SAFETY: no reference leads to memory that the call changes (see the comment).
    unsafe { answer(nr, args) }
}

/// Fails unless the call answers `expected`.
pub(crate) fn answers(what: &str, nr: usize, args: &[usize], expected: isize) -> Verdict {
    let got = call(nr, args);
    ensure!(got == expected, "{what}: {got}, not {expected}");
    Ok(())
}

/// `pages` pages of private zeroes, with nothing mapped for 16 pages on either side.
pub(crate) fn island(pages: usize) -> usize {
    const SEA: usize = 16 * PAGE;
    let len = pages * PAGE;
    let start = call(MMAP, &[0, len + 2 * SEA, READ_WRITE, PRIVATE | ANONYMOUS, usize::MAX, 0]) as usize;
    call(MUNMAP, &[start, SEA]);
    call(MUNMAP, &[start + SEA + len, SEA]);
    start + SEA
}

/// A descriptor of the new file `path` (with its NUL) of `bytes` bytes.
pub(crate) fn new_file(path: &str, bytes: usize, flags: usize) -> usize {
    const O_CREAT: usize = 0o100;
    let fd = call(OPEN, &[path.as_ptr() as usize, flags | O_CREAT, 0o600]) as usize;
    call(FTRUNCATE, &[fd, bytes]);
    fd
}

/// Whether the kernel can store to the byte at `address`: it stores a random byte there.
pub(crate) fn may_store(address: usize) -> bool {
    call(GETRANDOM, &[address, 1, 0]) == 1
}

/// Whether the kernel can read the byte at `address`: a call takes a path from there.
pub(crate) fn may_load(address: usize) -> bool {
    call(ACCESS, &[address, 0]) != EFAULT
}
