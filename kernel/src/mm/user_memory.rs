//! Typed access to the memory of the current process.
//!
//! Every access goes through `arch::uaccess`, the only code for which user memory is open. A bad
//! address is [`Errno::EFAULT`], never a kernel fault; a page that is not there yet is brought in
//! on the way, so all of these may sleep: no spin lock held, interrupts on.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::iter;
use core::mem::{MaybeUninit, size_of};

use arch::addr::PAGE_SIZE;
use arch::uaccess::{self, BadAddress, BadString};

use crate::errno::Errno;
use crate::memory::heap;

/// Types that are nothing but their bytes.
///
/// # Safety
/// No padding, no invalid bit patterns, no pointers into the kernel.
pub(crate) unsafe trait Plain: Copy {}

macro_rules! plain {
    ($($kind:ty)+) => {
        // SAFETY: integers have neither padding nor invalid patterns.
        $(unsafe impl Plain for $kind {})+
    };
}
plain!(u8 u16 u32 u64 i32 i64);

// SAFETY: an array of plain values has no padding between them.
unsafe impl<T: Plain, const N: usize> Plain for [T; N] {}

/// An address in the memory of the current process, as the program gave it: unchecked until an
/// access goes through it.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(transparent)]
pub(crate) struct UserAddr(pub(crate) u64);

// SAFETY: a `u64`.
unsafe impl Plain for UserAddr {}

impl UserAddr {
    /// Whether it is NULL.
    pub(crate) fn is_null(self) -> bool {
        self.0 == 0
    }

    /// `bytes` further on. Saturates at the last address, which is no program's.
    pub(crate) fn plus(self, bytes: usize) -> Self {
        UserAddr(self.0.saturating_add(bytes as u64))
    }

    /// Element `n` of the array of `T` here.
    pub(crate) fn nth<T>(self, n: usize) -> Self {
        self.plus(n * size_of::<T>())
    }

    /// Whether `bytes` from here are within the user's addresses.
    pub(crate) fn has_room(self, bytes: usize) -> bool {
        uaccess::is_user_range(self.0, bytes)
    }

    /// Copies `from` out to here.
    pub(crate) fn write_bytes(self, from: &[u8]) -> Result<(), Errno> {
        // SAFETY: `from` is readable for its length.
        efault(unsafe { uaccess::copy_to_user(self.0, from.as_ptr(), from.len()) })
    }

    /// Copies the bytes here to `to`.
    pub(crate) fn read_bytes(self, to: &mut [u8]) -> Result<(), Errno> {
        // SAFETY: `to` is writable for its length.
        efault(unsafe { uaccess::copy_from_user(to.as_mut_ptr(), self.0, to.len()) })
    }

    /// Reads a `T`, which need not be aligned.
    pub(crate) fn read<T: Plain>(self) -> Result<T, Errno> {
        let mut value = MaybeUninit::<T>::uninit();
        // SAFETY: the target is a `T`, writable for its size; when the copy succeeds
        // all its bytes are set, and any bytes make a `T` (`Plain`).
        unsafe {
            efault(uaccess::copy_from_user(value.as_mut_ptr().cast(), self.0, size_of::<T>()))?;
            Ok(value.assume_init())
        }
    }

    /// As [`UserAddr::read`]; `None` if the address is NULL.
    pub(crate) fn read_unless_null<T: Plain>(self) -> Result<Option<T>, Errno> {
        if self.is_null() { Ok(None) } else { self.read().map(Some) }
    }

    /// As [`UserAddr::read`], for a value that is too large for a kernel stack.
    pub(crate) fn read_boxed<T: Plain>(self) -> Result<Box<T>, Errno> {
        let mut value = Box::<T>::new_uninit();
        // SAFETY: as in `read`.
        unsafe {
            efault(uaccess::copy_from_user(value.as_mut_ptr().cast(), self.0, size_of::<T>()))?;
            Ok(value.assume_init())
        }
    }

    /// Writes `value`, which need not be aligned here.
    pub(crate) fn write<T: Plain>(self, value: T) -> Result<(), Errno> {
        self.write_from(&value)
    }

    /// As [`UserAddr::write`], without a copy on the way.
    pub(crate) fn write_from<T: Plain>(self, value: &T) -> Result<(), Errno> {
        // SAFETY: the source is a `T`, readable for its size, without padding.
        efault(unsafe { uaccess::copy_to_user(self.0, (&raw const *value).cast(), size_of::<T>()) })
    }

    /// As [`UserAddr::write`], unless the address is NULL.
    pub(crate) fn write_unless_null<T: Plain>(self, value: T) -> Result<(), Errno> {
        if self.is_null() { Ok(()) } else { self.write(value) }
    }

    /// Loads an aligned word in one access.
    pub(crate) fn load_u32(self) -> Result<u32, Errno> {
        efault(uaccess::load_user_u32(self.0))
    }

    /// Replaces an aligned word by `new` if it is `expected`; returns the word found.
    pub(crate) fn exchange_u32(self, expected: u32, new: u32) -> Result<u32, Errno> {
        efault(uaccess::cmpxchg_user_u32(self.0, expected, new))
    }

    /// Reads a NUL-terminated path.
    pub(crate) fn read_path(self) -> Result<String, Errno> {
        let bytes = self.read_string(PATH_MAX, Errno::ENAMETOOLONG)?;
        // A name that is not UTF-8 names no file of ours.
        String::from_utf8(bytes).map_err(|_| Errno::ENOENT)
    }

    /// Reads a NUL-terminated string of fewer than `limit` bytes, without the NUL; a longer
    /// one is `too_long`.
    pub(crate) fn read_string(self, limit: usize, too_long: Errno) -> Result<Vec<u8>, Errno> {
        if limit == 0 {
            return Err(too_long);
        }
        let mut bytes = alloc::vec![0; limit.min(SHORT)];
        let len = loop {
            match uaccess::strncpy_from_user(&mut bytes, self.0) {
                Ok(len) => break len,
                Err(BadString::Address) => return Err(Errno::EFAULT),
                Err(BadString::TooLong) if bytes.len() == limit => return Err(too_long),
                // Rare: once more with all the room there may be.
                Err(BadString::TooLong) => {
                    heap::check_room(limit)?;
                    bytes.resize(limit, 0);
                }
            }
        };
        bytes.truncate(len);
        if bytes.len() < bytes.capacity() / 2 {
            bytes.shrink_to_fit();
        }
        Ok(bytes)
    }

    /// Reads a NUL-terminated string into `to`, or as much of it as fits; returns the number of
    /// bytes.
    pub(crate) fn read_prefix(self, to: &mut [u8]) -> Result<usize, Errno> {
        match uaccess::strncpy_from_user(to, self.0) {
            Ok(len) => Ok(len),
            Err(BadString::TooLong) => Ok(to.len()),
            Err(BadString::Address) => Err(Errno::EFAULT),
        }
    }
}

fn efault<T>(outcome: Result<T, BadAddress>) -> Result<T, Errno> {
    outcome.map_err(|_| Errno::EFAULT)
}

/// Loads the aligned word at `address` and, to `write`, stores the same there.
fn touch(address: u64, write: bool) -> Result<(), BadAddress> {
    let mut found = uaccess::load_user_u32(address)?;
    loop {
        let now = if write { uaccess::cmpxchg_user_u32(address, found, found)? } else { found };
        if now == found {
            return Ok(());
        }
        found = now;
    }
}

/// A value of zeroes, made in place: for one that is too large for a kernel stack.
pub(crate) fn zeroed<T: Plain>() -> Box<T> {
    // SAFETY: any bytes make a `T` (`Plain`).
    unsafe { Box::<T>::new_zeroed().assume_init() }
}

/// The longest path, with its NUL (Linux's PATH_MAX).
pub(crate) const PATH_MAX: usize = 4096;

/// Room for nearly every string.
const SHORT: usize = 128;

/// One piece of user memory.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct UserSlice {
    /// Its first byte.
    pub(crate) base: UserAddr,
    /// Its length in bytes.
    pub(crate) len: u64,
}

// SAFETY: two words without padding. This is Linux's `struct iovec`.
unsafe impl Plain for UserSlice {}

/// User memory that is read or written from front to back: one or several pieces, and the
/// position. Files see nothing else of user memory.
pub(crate) struct Cursor<'a> {
    /// The rest of the first piece that is not done: its address and length.
    at: UserAddr,
    here: usize,
    /// The pieces behind it.
    later: &'a [UserSlice],
    /// Bytes of all pieces, and those still to move.
    total: usize,
    remaining: usize,
}

impl<'a> Cursor<'a> {
    /// Over `len` bytes at `at`.
    ///
    /// # Errors
    /// `EFAULT` if they are not within the user's addresses.
    #[inline(always)]
    pub(crate) fn of(at: UserAddr, len: u64) -> Result<Self, Errno> {
        let total = len as usize;
        if !at.has_room(total) {
            return Err(Errno::EFAULT);
        }
        Ok(Cursor { at, here: total, later: &[], total, remaining: total })
    }

    /// Over `pieces` in order.
    ///
    /// # Errors
    /// `EFAULT` if one of them is not within the user's addresses, even if it would not be used.
    pub(crate) fn new(pieces: &'a [UserSlice]) -> Result<Self, Errno> {
        let mut total = 0;
        for piece in pieces {
            if !piece.base.has_room(piece.len as usize) {
                return Err(Errno::EFAULT);
            }
            // No overflow: the user's addresses are 2^52, and pieces at most 1,024.
            total += piece.len as usize;
        }
        Ok(Cursor { at: UserAddr(0), here: 0, later: pieces, total, remaining: total })
    }

    /// Bytes moved so far.
    #[inline(always)]
    pub(crate) fn done(&self) -> usize {
        self.total - self.remaining
    }

    /// Bytes still to move.
    #[inline(always)]
    pub(crate) fn remaining(&self) -> usize {
        self.remaining
    }

    /// The rest of the next piece.
    pub(crate) fn next_piece(&mut self) -> Option<UserSlice> {
        while self.here == 0 {
            let (piece, later) = self.later.split_first()?;
            (self.at, self.here, self.later) = (piece.base, piece.len as usize, later);
        }
        Some(UserSlice { base: self.at, len: self.here as u64 })
    }

    /// The user address, if `len` bytes from there on are in one piece.
    #[inline(always)]
    fn in_one_piece(&self, len: usize) -> Option<u64> {
        (len <= self.here).then_some(self.at.0)
    }

    /// Moves on after a copy of `len` bytes within a piece, which ended with `outcome`.
    #[inline(always)]
    fn moved(&mut self, len: usize, outcome: Result<(), BadAddress>) -> Result<usize, Errno> {
        let bytes = outcome.map_or_else(|bad| bad.copied, |()| len);
        // Stays within the piece, which lies within the user's addresses.
        self.at.0 += bytes as u64;
        self.here -= bytes;
        self.remaining -= bytes;
        efault(outcome).map(|()| len)
    }

    /// Moves up to `len` bytes with `copy(user address, offset, bytes)`; stops
    /// where user memory ends or, with `EFAULT`, is bad.
    #[inline(never)]
    fn advance(
        &mut self,
        len: usize,
        mut copy: impl FnMut(u64, usize, usize) -> Result<(), BadAddress>,
    ) -> Result<usize, Errno> {
        let mut moved = 0;
        while moved < len
            && let Some(piece) = self.next_piece()
        {
            let bytes = self.here.min(len - moved);
            moved += self.moved(bytes, copy(piece.base.0, moved, bytes))?;
        }
        Ok(moved)
    }

    /// Moves bytes out to the user, as many of `from` as fit. Returns how many. After `EFAULT`,
    /// [`Cursor::done`] counts the bytes before it.
    #[inline]
    pub(crate) fn put(&mut self, from: &[u8]) -> Result<usize, Errno> {
        // SAFETY: a slice is readable for its length.
        unsafe { self.put_raw(from.as_ptr(), from.len()) }
    }

    /// As [`Cursor::put`], from memory that others may change meanwhile.
    ///
    /// # Safety
    /// `from` is readable for `len` bytes.
    #[inline]
    pub(crate) unsafe fn put_raw(&mut self, from: *const u8, len: usize) -> Result<usize, Errno> {
        if let Some(to) = self.in_one_piece(len) {
            // SAFETY: the caller's promise.
            return self.moved(len, unsafe { uaccess::copy_to_user(to, from, len) });
        }
        self.advance(len, |to, offset, bytes| {
            // SAFETY: `offset + bytes` is at most `len`.
            unsafe { uaccess::copy_to_user(to, from.add(offset), bytes) }
        })
    }

    /// Moves bytes in from the user, as many as there are, into the start of
    /// `to`. Returns how many; errors as [`Cursor::put`].
    #[inline]
    pub(crate) fn take(&mut self, to: &mut [u8]) -> Result<usize, Errno> {
        // SAFETY: a slice is writable for its length.
        unsafe { self.take_raw(to.as_mut_ptr(), to.len()) }
    }

    /// As [`Cursor::take`], to memory that others may use meanwhile.
    ///
    /// # Safety
    /// `to` is writable for `len` bytes.
    #[inline]
    pub(crate) unsafe fn take_raw(&mut self, to: *mut u8, len: usize) -> Result<usize, Errno> {
        if let Some(from) = self.in_one_piece(len) {
            // SAFETY: the caller's promise.
            return self.moved(len, unsafe { uaccess::copy_from_user(to, from, len) });
        }
        self.advance(len, |from, offset, bytes| {
            // SAFETY: `offset + bytes` is at most `len`.
            unsafe { uaccess::copy_from_user(to.add(offset), from, bytes) }
        })
    }

    /// As [`Cursor::put`] of all of `from`, for which there is room. After `EFAULT` nothing has moved.
    /// Under a lock a page that is not there is a bad address: [`Cursor::bring_in`].
    #[inline(always)]
    pub(crate) fn put_whole(&mut self, from: &[u8]) -> Result<(), Errno> {
        if let Some(to) = self.in_one_piece(from.len()) {
            // SAFETY: a slice is readable for its length.
            efault(unsafe { uaccess::copy_to_user(to, from.as_ptr(), from.len()) })?;
            return self.moved(from.len(), Ok(())).map(drop);
        }
        self.whole(|ahead| ahead.put(from))
    }

    /// As [`Cursor::put_whole`], the other way.
    #[inline(always)]
    pub(crate) fn take_whole(&mut self, to: &mut [u8]) -> Result<(), Errno> {
        if let Some(from) = self.in_one_piece(to.len()) {
            // SAFETY: a slice is writable for its length.
            efault(unsafe { uaccess::copy_from_user(to.as_mut_ptr(), from, to.len()) })?;
            return self.moved(to.len(), Ok(())).map(drop);
        }
        self.whole(|ahead| ahead.take(to))
    }

    /// Moves on as `copy` does, if that succeeds.
    #[inline(never)]
    pub(crate) fn whole<T>(&mut self, copy: impl FnOnce(&mut Self) -> Result<T, Errno>) -> Result<(), Errno> {
        let mut ahead = Cursor { ..*self };
        copy(&mut ahead)?;
        *self = ahead;
        Ok(())
    }

    /// Brings in the pages of the next `len` bytes, or of all that remain; for stores if the bytes are
    /// to be written. Returns how many there are before a bad address.
    ///
    /// # Errors
    /// `EFAULT` if there is none.
    #[cold]
    #[inline(never)]
    pub(crate) fn bring_in(&self, len: usize, write: bool) -> Result<usize, Errno> {
        let mut ahead = Cursor { ..*self };
        let result = ahead.advance(len.min(self.remaining), |start, _, bytes| {
            let pages = iter::successors(Some(start), |at| Some((at | (PAGE_SIZE - 1)) + 1));
            pages.take_while(|&at| at < start + bytes as u64).try_for_each(|at| {
                touch(at & !3, write).map_err(|_| BadAddress { copied: (at - start) as usize })
            })
        });
        match ahead.done() - self.done() {
            0 => result,
            bytes => Ok(bytes),
        }
    }

    /// Copies the next bytes, as many as `to` has, to `to`, without moving on: errors after
    /// bytes have moved would be short counts.
    pub(crate) fn peek(&self, to: &mut [u8]) -> Result<(), Errno> {
        Cursor { ..*self }.take(to).map(drop)
    }

    /// Skips up to `len` bytes of the user's without touching them.
    pub(crate) fn skip(&mut self, len: usize) -> usize {
        self.advance(len, |_, _, _| Ok(())).unwrap_or(0)
    }

    /// Writes zeros to all that remains.
    pub(crate) fn put_zeros(&mut self) -> Result<usize, Errno> {
        self.advance(self.remaining, |to, _, bytes| uaccess::clear_user(to, bytes))
    }
}
