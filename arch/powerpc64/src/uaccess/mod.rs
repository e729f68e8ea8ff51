//! Access to user memory from the kernel.
//!
//! The kernel cannot touch user pages (AMR) except inside the routines of
//! `copy.S`. A fault there goes to the kernel's page-fault handler first, which
//! may bring the page in and have the access tried again, or call
//! [`TrapFrame::fixup`](crate::exceptions::frame::TrapFrame::fixup), after which
//! the routine ends early.
//!
//! Context: any where the fault handler may run; the current task's address
//! space is loaded.

use crate::addr::USER_END;
use crate::reg::{AMR_CLOSED, AMR_OPEN, spr};
use core::arch::global_asm;

global_asm!(
    include_str!("copy.S"),
    AMR = const spr::AMR,
    AMR_OPEN = const AMR_OPEN,
    AMR_CLOSED = const AMR_CLOSED.cast_signed(),
);

/// What a routine with a value returns, in r3 and r4.
#[repr(C)]
struct Outcome {
    value: u64,
    faulted: u64,
}

unsafe extern "C" {
    fn uaccess_copy(to: u64, from: u64, bytes: usize) -> usize;
    fn uaccess_clear(to: u64, bytes: usize) -> usize;
    fn uaccess_string(to: u64, from: u64, most: usize) -> Outcome;
    fn uaccess_load_u32(from: u64) -> Outcome;
    fn uaccess_cmpxchg_u32(address: u64, expected: u32, new: u32) -> Outcome;
    static __ex_table_start: Range;
    static __ex_table_end: Range;
}

/// User memory that is not there (EFAULT).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadAddress {
    /// Bytes that were moved before it.
    pub copied: usize,
}

/// Why a string could not be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadString {
    /// Memory that is not there (EFAULT).
    Address,
    /// No NUL within the buffer (ENAMETOOLONG).
    TooLong,
}

/// Does `bytes` at `address` lie within what users may name? As Linux's `access_ok`,
/// nothing may also lie at their end.
#[inline]
#[must_use]
pub fn is_user_range(address: u64, bytes: usize) -> bool {
    bytes as u64 <= USER_END && address <= USER_END - bytes as u64
}

/// Copies `bytes` from user memory.
///
/// # Errors
/// [`BadAddress`] with the number of bytes that were copied.
///
/// # Safety
/// `to` is valid for writes of `bytes`.
pub unsafe fn copy_from_user(to: *mut u8, from: u64, bytes: usize) -> Result<(), BadAddress> {
    if !is_user_range(from, bytes) {
        return Err(BadAddress { copied: 0 });
    }
    // SAFETY: `to` is the caller's promise; `from` is a user address, where the
    // routine survives every fault.
    complete(bytes, unsafe { uaccess_copy(to.addr() as u64, from, bytes) })
}

/// Copies `bytes` to user memory.
///
/// # Errors
/// [`BadAddress`] with the number of bytes that were copied.
///
/// # Safety
/// `from` is valid for reads of `bytes`.
pub unsafe fn copy_to_user(to: u64, from: *const u8, bytes: usize) -> Result<(), BadAddress> {
    if !is_user_range(to, bytes) {
        return Err(BadAddress { copied: 0 });
    }
    // SAFETY: `from` is the caller's promise; `to` is a user address, where the routine
    // survives every fault. No Rust object lives in user memory.
    complete(bytes, unsafe { uaccess_copy(to, from.addr() as u64, bytes) })
}

/// Clears `bytes` of user memory.
///
/// # Errors
/// [`BadAddress`] with the number of bytes that were cleared.
pub fn clear_user(to: u64, bytes: usize) -> Result<(), BadAddress> {
    if !is_user_range(to, bytes) {
        return Err(BadAddress { copied: 0 });
    }
    // SAFETY: user memory only, where the routine survives every fault.
    complete(bytes, unsafe { uaccess_clear(to, bytes) })
}

fn complete(bytes: usize, left: usize) -> Result<(), BadAddress> {
    check_closed();
    if left == 0 { Ok(()) } else { Err(BadAddress { copied: bytes - left }) }
}

/// Copies a NUL-terminated string into `to`. Returns its length without the NUL.
///
/// # Errors
/// [`BadString`]: the memory is not there, or the user's addresses end, before a NUL; or
/// none fits into `to`.
pub fn strncpy_from_user(to: &mut [u8], from: u64) -> Result<usize, BadString> {
    if !is_user_range(from, 1) {
        return Err(BadString::Address);
    }
    let most = to.len().min((USER_END - from) as usize);
    if most == 0 {
        return Err(BadString::TooLong);
    }
    // SAFETY: writes at most `to.len()` bytes into `to`.
    let got = unsafe { uaccess_string(to.as_mut_ptr().addr() as u64, from, most) };
    check_closed();
    let copied = got.value as usize;
    match () {
        () if got.faulted != 0 => Err(BadString::Address),
        () if to[copied - 1] == 0 => Ok(copied - 1),
        () if most < to.len() => Err(BadString::Address),
        () => Err(BadString::TooLong),
    }
}

/// Loads an aligned word in one access.
///
/// # Errors
/// [`BadAddress`], also for an unaligned address.
pub fn load_user_u32(from: u64) -> Result<u32, BadAddress> {
    check_word(from)?;
    // SAFETY: user memory only, where the routine survives every fault.
    word(unsafe { uaccess_load_u32(from) })
}

/// Replaces an aligned word by `new` if it is `expected`; returns what was found.
/// Fully ordered.
///
/// # Errors
/// [`BadAddress`], also for an unaligned address.
pub fn cmpxchg_user_u32(address: u64, expected: u32, new: u32) -> Result<u32, BadAddress> {
    check_word(address)?;
    // SAFETY: user memory only, where the routine survives every fault.
    word(unsafe { uaccess_cmpxchg_u32(address, expected, new) })
}

fn check_word(address: u64) -> Result<(), BadAddress> {
    let good = address.is_multiple_of(4) && is_user_range(address, 4);
    if good { Ok(()) } else { Err(BadAddress { copied: 0 }) }
}

fn word(outcome: Outcome) -> Result<u32, BadAddress> {
    check_closed();
    if outcome.faulted == 0 { Ok(outcome.value as u32) } else { Err(BadAddress { copied: 0 }) }
}

/// In test builds: however the routine ended, user pages are closed again.
#[inline(always)]
fn check_closed() {
    #[cfg(feature = "checks")]
    crate::exceptions::authority::check_closed();
}

/// Where the routines are.
#[cfg(feature = "checks")]
pub(crate) fn text() -> core::ops::Range<u64> {
    unsafe extern "C" {
        static uaccess_text_start: u8;
        static uaccess_text_end: u8;
    }
    (&raw const uaccess_text_start).addr() as u64..(&raw const uaccess_text_end).addr() as u64
}

/// One entry of the exception table: instructions that may fault on user
/// memory, and where to go on when they do.
#[repr(C)]
struct Range {
    first: u64,
    end: u64,
    fixup: u64,
}

/// Where to go on after a fault at `nip`, if that may fault on user memory.
pub(crate) fn fixup_of(nip: u64) -> Option<u64> {
    let (start, end) = (&raw const __ex_table_start, &raw const __ex_table_end);
    // SAFETY: the linker script puts the table's entries between the symbols.
    let table = unsafe { core::slice::from_raw_parts(start, end.offset_from_unsigned(start)) };
    // A dozen entries, read on faults only: no need to sort.
    let hit = table.iter().find(|range| (range.first..range.end).contains(&nip));
    hit.map(|range| range.fixup)
}
