//! Futexes: sleeping on a word of user memory. Who sleeps where is in [`super::futex_waiters`].

use arch::exceptions::TrapFrame;

use super::futex_waiters::{self, ALL_BITS, End, Key};
use super::signals::wait_unless_handled;
use super::{Result, time};
use crate::errno::Errno;
use crate::mm;
use crate::mm::user_memory::UserAddr;
use crate::process::signal::{ERESTARTNOHAND, ERESTARTSYS};
use crate::task;

const FUTEX_WAIT: u64 = 0;
const FUTEX_WAKE: u64 = 1;
const FUTEX_REQUEUE: u64 = 3;
const FUTEX_CMP_REQUEUE: u64 = 4;
const FUTEX_WAIT_BITSET: u64 = 9;
const FUTEX_WAKE_BITSET: u64 = 10;
/// The word is used by one process only: a hint.
const FUTEX_PRIVATE_FLAG: u64 = 0x80;
/// The deadline is by the clock since 1970.
const FUTEX_CLOCK_REALTIME: u64 = 0x100;

impl Key {
    /// Of the word at `address`. `shared` if other address spaces may have it: then the word
    /// must be there, also for who does not look at it (Linux: `get_futex_key`).
    ///
    /// # Errors
    /// `EINVAL` if it is not aligned, `EFAULT` if it is not the program's.
    fn new(address: UserAddr, shared: bool) -> Result<Self> {
        if !address.0.is_multiple_of(4) {
            return Err(Errno::EINVAL);
        }
        if !address.has_room(1) {
            return Err(Errno::EFAULT);
        }
        if shared {
            fetch(address)?;
            return Ok(Self::of_mapping(address));
        }
        Ok(Self::of_address(address))
    }

    /// Of a word that only the current address space has.
    fn of_address(address: UserAddr) -> Self {
        Key(task::current().mm.mm().to_bits(), address.0)
    }

    /// Of a word that others may have, whether it can be read or not.
    fn of_mapping(address: UserAddr) -> Self {
        let object = mm::shared_key(task::current().mm.mm(), address.0);
        object.map_or_else(|| Self::of_address(address), |(object, offset)| Key(object, offset))
    }
}

#[inline]
pub(super) fn futex(
    frame: &mut TrapFrame,
    address: UserAddr,
    operation: u64,
    value: u32,
    timeout: u64,
    other: UserAddr,
    bits: u32,
) -> Result {
    let shared = operation & FUTEX_PRIVATE_FLAG == 0;
    let realtime = operation & FUTEX_CLOCK_REALTIME != 0;
    let operation = operation & 0xffff_ffff & !(FUTEX_PRIVATE_FLAG | FUTEX_CLOCK_REALTIME);
    if realtime && operation != FUTEX_WAIT_BITSET {
        return Err(Errno::ENOSYS);
    }
    let count = value as i32;
    match operation {
        FUTEX_WAIT_BITSET | FUTEX_WAKE_BITSET if bits == 0 => Err(Errno::EINVAL),
        FUTEX_REQUEUE | FUTEX_CMP_REQUEUE if count < 0 || (timeout as i32) < 0 => Err(Errno::EINVAL),
        FUTEX_WAIT => {
            let deadline_tb = time::read_deadline(UserAddr(timeout), None)?;
            let key = Key::new(address, shared)?;
            wait_unless_handled(frame, || wait(key, address, value, ALL_BITS, deadline_tb))
        }
        FUTEX_WAIT_BITSET => {
            let clock = if realtime { time::Clock::Realtime } else { time::Clock::Monotonic };
            let deadline_tb = time::read_deadline(UserAddr(timeout), Some(clock))?;
            let key = Key::new(address, shared)?;
            wait_unless_handled(frame, || wait(key, address, value, bits, deadline_tb))
        }
        FUTEX_WAKE => wake(Key::new(address, shared)?, count, ALL_BITS),
        FUTEX_WAKE_BITSET => wake(Key::new(address, shared)?, count, bits),
        // The timeout's place has the second count.
        FUTEX_REQUEUE | FUTEX_CMP_REQUEUE => {
            let compare = (operation == FUTEX_CMP_REQUEUE).then_some((address, bits));
            let keys = [Key::new(address, shared)?, Key::new(other, shared)?];
            requeue(keys, count, timeout as i32, compare)
        }
        // Locks with priority inheritance and the like.
        _ => Err(Errno::ENOSYS),
    }
}

/// Whether the word at `address` is `expected`, under a bucket's lock.
///
/// # Errors
/// `EAGAIN` if it is not; `EFAULT` if its page is not there, for [`fetch`] to get it
/// without the lock.
#[inline]
fn compare(address: UserAddr, expected: u32) -> Result<()> {
    if address.load_u32()? == expected { Ok(()) } else { Err(Errno::EAGAIN) }
}

/// Brings in the page of the word at `address`.
fn fetch(address: UserAddr) -> Result<()> {
    address.read::<u32>().map(drop)
}

/// FUTEX_WAIT: sleeps if the word at `address` is `expected`.
fn wait(key: Key, address: UserAddr, expected: u32, bits: u32, deadline_tb: Option<u64>) -> Result {
    let end = loop {
        match futex_waiters::wait(key, bits, deadline_tb, || compare(address, expected)) {
            Err(Errno::EFAULT) => fetch(address)?,
            end => break end?,
        }
    };
    match (end, deadline_tb) {
        (End::Woken, _) => Ok(0),
        (End::Late, _) => Err(Errno::ETIMEDOUT),
        // As in Linux, SA_RESTART is for a wait without end only.
        (End::Interrupted, None) => Err(ERESTARTSYS),
        (End::Interrupted, Some(_)) => Err(ERESTARTNOHAND),
    }
}

/// FUTEX_WAKE: wakes up to `count` waiters; at least one, as in Linux.
fn wake(key: Key, count: i32, bits: u32) -> Result {
    Ok(futex_waiters::wake(key, count.max(1) as usize, bits) as u64)
}

/// FUTEX_REQUEUE: wakes up to `count` waiters of the first key and has up to
/// `move_count` others wait for the second.
fn requeue(keys: [Key; 2], count: i32, move_count: i32, word: Option<(UserAddr, u32)>) -> Result {
    let counts = [count as usize, move_count as usize];
    let check = || word.map_or(Ok(()), |(address, expected)| compare(address, expected));
    loop {
        match (futex_waiters::requeue(keys, counts, check), word) {
            (Err(Errno::EFAULT), Some((address, _))) => fetch(address)?,
            (found, _) => return found.map(|found| found as u64),
        }
    }
}

/// Wakes one waiter of the word at `address`, which the kernel has changed at a
/// thread's end, or would have. pthread_join waits as if other processes might have it.
pub(crate) fn wake_at(address: UserAddr) {
    futex_waiters::wake(Key::of_mapping(address), 1, ALL_BITS);
}
