//! Futexes: sleeping on a word of user memory. Who sleeps where is in [`super::futex_waiters`].

use arch::exceptions::TrapFrame;

use super::futex_waiters::{self, ALL_BITS, End, Key};
use super::signals::wait_unless_handled;
use super::{NEEDS_WHOLE_FRAME, Result, time};
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
    /// Of the word at `address`. With `shared` other address spaces may have it: then the word must
    /// be readable, even if the caller does not read it (Linux: `get_futex_key`).
    ///
    /// # Errors
    /// `EINVAL` if it is not aligned, `EFAULT` if it is not the program's.
    #[inline]
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
        FUTEX_WAIT if timeout == 0 => wait_for_ever(address, shared, value, ALL_BITS),
        FUTEX_WAIT_BITSET if timeout == 0 => wait_for_ever(address, shared, value, bits),
        FUTEX_WAIT => wait_until(frame, UserAddr(timeout), None, (address, shared), value, ALL_BITS),
        FUTEX_WAIT_BITSET => {
            let clock = if realtime { time::Clock::Realtime } else { time::Clock::Monotonic };
            wait_until(frame, UserAddr(timeout), Some(clock), (address, shared), value, bits)
        }
        FUTEX_WAKE => wake(address, shared, count, ALL_BITS),
        FUTEX_WAKE_BITSET => wake(address, shared, count, bits),
        // The timeout's place has the second count.
        FUTEX_REQUEUE => requeue([address, other], shared, [count, timeout as i32], None),
        FUTEX_CMP_REQUEUE => requeue([address, other], shared, [count, timeout as i32], Some(bits)),
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

/// FUTEX_WAIT without a timeout: sleeps if the word at `address` is `expected`.
#[inline(never)]
fn wait_for_ever(address: UserAddr, shared: bool, expected: u32, bits: u32) -> Result {
    let key = Key::new(address, shared)?;
    match futex_waiters::wait(key, bits, None, || compare(address, expected)) {
        Ok(End::Woken) => Ok(0),
        // As in Linux, SA_RESTART is for a wait without end only.
        Ok(_) => Err(ERESTARTSYS),
        Err(Errno::EFAULT) => wait(key, address, expected, bits, None),
        Err(errno) => Err(errno),
    }
}

/// FUTEX_WAIT with one: the deadline is by `clock`, or from now.
#[inline(never)]
fn wait_until(
    frame: &mut TrapFrame,
    timeout: UserAddr,
    clock: Option<time::Clock>,
    (address, shared): (UserAddr, bool),
    expected: u32,
    bits: u32,
) -> Result {
    if !frame.is_whole() {
        return Err(NEEDS_WHOLE_FRAME);
    }
    let deadline_tb = time::read_deadline(timeout, clock)?;
    let key = Key::new(address, shared)?;
    wait_unless_handled(frame, || wait(key, address, expected, bits, deadline_tb))
}

/// The same, whether the word is there or not, with or without a deadline.
#[inline(never)]
fn wait(key: Key, address: UserAddr, expected: u32, bits: u32, deadline_tb: Option<u64>) -> Result {
    let end = loop {
        match futex_waiters::wait(key, bits, deadline_tb, || compare(address, expected)) {
            Err(Errno::EFAULT) => fetch(address)?,
            end => break end?,
        }
    };
    match end {
        End::Woken => Ok(0),
        End::Late => Err(Errno::ETIMEDOUT),
        End::Interrupted if deadline_tb.is_none() => Err(ERESTARTSYS),
        End::Interrupted => Err(ERESTARTNOHAND),
    }
}

/// FUTEX_WAKE: wakes up to `count` waiters; at least one, as in Linux.
#[inline(never)]
fn wake(address: UserAddr, shared: bool, count: i32, bits: u32) -> Result {
    Ok(futex_waiters::wake(Key::new(address, shared)?, count.max(1) as usize, bits) as u64)
}

/// FUTEX_REQUEUE: wakes up to so many waiters of the first address and has up to so many
/// others wait for the second; if the first has the word `expected`, unless that is none.
#[inline(never)]
fn requeue([from, to]: [UserAddr; 2], shared: bool, counts: [i32; 2], expected: Option<u32>) -> Result {
    if counts.iter().any(|&count| count < 0) {
        return Err(Errno::EINVAL);
    }
    let keys = [Key::new(from, shared)?, Key::new(to, shared)?];
    let check = || expected.map_or(Ok(()), |expected| compare(from, expected));
    loop {
        match futex_waiters::requeue(keys, counts.map(|count| count as usize), check) {
            Err(Errno::EFAULT) => fetch(from)?,
            found => return found.map(|found| found as u64),
        }
    }
}

/// Wakes one waiter of the word at `address`, which the kernel has changed, or tried to, at a
/// thread's end. A shared key: pthread_join waits as if other processes might have the word.
pub(crate) fn wake_at(address: UserAddr) {
    futex_waiters::wake(Key::of_mapping(address), 1, ALL_BITS);
}
