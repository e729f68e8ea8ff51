//! Mappings: mmap, mprotect, munmap, madvise, brk.

use core::slice;

use crate::sys::{Errno, nr, syscall};

/// Bytes in the smallest page that a kernel of this machine may use.
pub const PAGE: usize = 4096;

/// The permissions of a mapping (`PROT_*`).
#[derive(Clone, Copy)]
pub struct Protection(usize);

impl Protection {
    /// Nothing: every access faults.
    pub const NONE: Self = Self(0);
    /// Reading.
    pub const READ: Self = Self(1);
    /// Reading and writing.
    pub const READ_WRITE: Self = Self(3);
    /// Reading and executing.
    pub const READ_EXECUTE: Self = Self(5);
}

const MAP_PRIVATE: usize = 2;
const MAP_ANONYMOUS: usize = 0x20;

/// Maps `len` bytes of zeroes, private, at an address of the kernel's choice.
///
/// # Errors
/// `ENOMEM`, `EINVAL` for no length.
pub fn map(len: usize, protection: Protection) -> Result<*mut u8, Errno> {
    let flags = MAP_PRIVATE | MAP_ANONYMOUS;
    // SAFETY: a new mapping at an address of the kernel's choice hits no other.
    unsafe { syscall(nr::MMAP, [0, len, protection.0, flags, usize::MAX, 0]) }
        .map(|address| address as *mut u8)
}

/// [`map`] at `address`, where nothing may be mapped.
///
/// # Errors
/// `EEXIST`, `EPERM`, `ENOMEM`, `EINVAL` for an impossible place.
pub fn map_at(address: usize, len: usize, protection: Protection) -> Result<*mut u8, Errno> {
    const MAP_FIXED_NOREPLACE: usize = 0x10_0000;
    let flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE;
    // SAFETY: a new mapping that hits no other.
    unsafe { syscall(nr::MMAP, [address, len, protection.0, flags, usize::MAX, 0]) }
        .map(|address| address as *mut u8)
}

/// Changes the permissions of the pages of `address..address + len`.
///
/// # Errors
/// `ENOMEM` if part of it is not mapped, `EINVAL` if the address is not aligned.
///
/// # Safety
/// No living reference may contradict the new protection.
pub unsafe fn protect(address: usize, len: usize, protection: Protection) -> Result<(), Errno> {
    // SAFETY: the caller's promise.
    unsafe { syscall(nr::MPROTECT, [address, len, protection.0, 0, 0, 0]) }.map(drop)
}

/// Removes the mappings in `address..address + len`.
///
/// # Errors
/// `EINVAL` if the address is not aligned or the length is 0.
///
/// # Safety
/// Nothing may refer to it afterwards.
pub unsafe fn unmap(address: usize, len: usize) -> Result<(), Errno> {
    // SAFETY: the caller's promise.
    unsafe { syscall(nr::MUNMAP, [address, len, 0, 0, 0, 0]) }.map(drop)
}

/// Throws the contents of anonymous pages away: they read as zeroes again.
///
/// # Errors
/// madvise's.
///
/// # Safety
/// No living reference may expect the old contents.
pub unsafe fn discard(address: usize, len: usize) -> Result<(), Errno> {
    const MADV_DONTNEED: usize = 4;
    // SAFETY: the caller's promise.
    unsafe { syscall(nr::MADVISE, [address, len, MADV_DONTNEED, 0, 0, 0]) }.map(drop)
}

/// Moves the program break to `address`, and returns the break, which is
/// unchanged where the kernel refuses. 0 only asks.
///
/// # Safety
/// Nothing may refer to memory above the new break.
pub unsafe fn brk(address: usize) -> usize {
    // SAFETY: the caller's promise. brk has no errors.
    unsafe { syscall(nr::BRK, [address, 0, 0, 0, 0, 0]) }.unwrap_or(0)
}

/// Reads a byte that may be unmapped: callers test for the fault.
#[must_use]
pub fn peek(address: usize) -> u8 {
    let byte: u8;
    // SAFETY: a load; where nothing is mapped, the kernel ends the process.
    unsafe {
        core::arch::asm!("lbz {0}, 0({1})", out(reg) byte, in(reg_nonzero) address,
            options(nostack, readonly));
    }
    byte
}

/// Writes a byte that may be unmapped.
///
/// # Safety
/// If something is mapped there, the byte is the caller's to lose.
pub unsafe fn poke(address: usize, byte: u8) {
    // SAFETY: the caller's promise.
    unsafe {
        core::arch::asm!("stb {0}, 0({1})", in(reg) byte, in(reg_nonzero) address,
            options(nostack));
    }
}

/// An anonymous mapping that is unmapped when dropped.
pub struct Region {
    start: *mut u8,
    len: usize,
}

// SAFETY: the region owns its memory, and lends it by the rules of references.
unsafe impl Send for Region {}

impl Region {
    /// Maps `pages` pages of zeroes, untouched.
    ///
    /// # Errors
    /// Those of [`map`].
    pub fn new(pages: usize) -> Result<Self, Errno> {
        let len = pages * PAGE;
        map(len, Protection::READ_WRITE).map(|start| Self { start, len })
    }

    /// Where it starts.
    #[must_use]
    pub fn address(&self) -> usize {
        self.start as usize
    }

    /// Its length in bytes.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "no mapping is empty")]
    pub fn len(&self) -> usize {
        self.len
    }

    /// The memory itself.
    pub fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: mapped, zeroed by the kernel, borrowed through us only.
        unsafe { slice::from_raw_parts_mut(self.start, self.len) }
    }

    /// Writes `mark` to each page, which faults each in.
    pub fn touch(&mut self, mark: u8) {
        for page in self.bytes().chunks_mut(PAGE) {
            page[0] = mark;
        }
    }

    /// Whether each page starts with `mark`.
    #[must_use]
    pub fn touched_with(&mut self, mark: u8) -> bool {
        self.bytes().chunks(PAGE).all(|page| page[0] == mark)
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: a region that is dropped is not borrowed.
        let _ = unsafe { unmap(self.start as usize, self.len) };
    }
}
