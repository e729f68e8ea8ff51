//! The kernel's half of every lock: sleep while a word has a value, wake sleepers.

use core::sync::atomic::AtomicU32;
use core::time::Duration;

use crate::sys::{Errno, nr, syscall};
use crate::time::Timespec;

const WAIT: usize = 0;
const WAKE: usize = 1;
/// The word is used by threads of one process: the kernel's cheaper key.
const PRIVATE: usize = 0x80;

/// Sleeps while `word` is `value`, until woken, for at most `limit`.
///
/// # Errors
/// `EAGAIN` if the word had another value, `ETIMEDOUT`, `EINTR`.
pub fn wait(word: &AtomicU32, value: u32, limit: Option<Duration>) -> Result<(), Errno> {
    wait_op(WAIT | PRIVATE, word, value, limit)
}

/// [`wait`] for a word that the kernel itself wakes (the id that it clears when a
/// thread ends): it uses the key of shared words.
///
/// # Errors
/// Those of [`wait`].
pub fn wait_shared(word: &AtomicU32, value: u32, limit: Option<Duration>) -> Result<(), Errno> {
    wait_op(WAIT, word, value, limit)
}

/// Wakes all threads that sleep in [`wait_shared`] on `word`, in all processes.
pub fn wake_shared(word: &AtomicU32) {
    let args = [word.as_ptr() as usize, WAKE, i32::MAX as usize, 0, 0, 0];
    // SAFETY: the kernel uses the word's address as a key only.
    let _ = unsafe { syscall(nr::FUTEX, args) };
}

fn wait_op(op: usize, word: &AtomicU32, value: u32, limit: Option<Duration>) -> Result<(), Errno> {
    let limit = limit.map(Timespec::from);
    let limit = limit.as_ref().map_or(0, |time| time as *const _ as usize);
    let args = [word.as_ptr() as usize, op, value as usize, limit, 0, 0];
    // SAFETY: the kernel reads word and time, which both live.
    unsafe { syscall(nr::FUTEX, args) }.map(drop)
}

/// Wakes at most `count` threads that sleep on `word`; returns their number.
pub fn wake(word: &AtomicU32, count: usize) -> usize {
    let args = [word.as_ptr() as usize, WAKE | PRIVATE, count, 0, 0, 0];
    // SAFETY: the kernel uses the word's address as a key only.
    unsafe { syscall(nr::FUTEX, args) }.unwrap_or(0)
}

/// Wakes all threads that sleep on `word`; returns their number.
pub fn wake_all(word: &AtomicU32) -> usize {
    wake(word, i32::MAX as usize)
}
