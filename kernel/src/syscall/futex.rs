//! Futexes: sleeping on a word of user memory.
//!
//! Waiters are kept by the word's [`Key`] in a table of buckets, each with a lock
//! of its own. A waiter compares the word and queues itself under the bucket's
//! lock; a waker changes the word before it takes that lock. So a waiter either
//! sees the change or is seen.

use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use arch::exceptions::TrapFrame;

use super::signals::wait_unless_handled;
use super::{Result, time};
use crate::errno::Errno;
use crate::mm;
use crate::mm::user_memory::UserAddr;
use crate::process::signal::{ERESTARTNOHAND, ERESTARTSYS};
use crate::process::{Thread, current_thread};
use crate::sync::{SpinGuard, SpinLock};
use crate::task::{self, TaskRef};

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
const ALL_BITS: u32 = u32::MAX;

/// The identity of a futex: page of an object and offset, or address space and address. The first
/// number distinguishes the two: ids of address spaces have a generation in the high half, objects
/// are counted from 1.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Key(u64, u64);

impl Key {
    /// Of the word at `address`. With `shared` other address spaces may have it: then the word must
    /// be readable, even if the caller does not read it (Linux: `get_futex_key`).
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

    fn bucket(self) -> usize {
        // Multiplication mixes low bits into high ones.
        const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
        let mixed = (self.0.rotate_left(32) ^ (self.1 >> 2)).wrapping_mul(GOLDEN);
        (mixed >> (64 - BUCKET_BITS)) as usize
    }
}

/// A thread that waits.
struct Waiter {
    key: Key,
    /// Woken by wakes that share a bit.
    bits: u32,
    task: TaskRef,
}

const BUCKET_BITS: u32 = 8;

/// A bucket: its waiters in order of arrival. Two are locked in the order of the
/// table; run-queue locks and the heap's nest inside.
type Bucket = SpinLock<Vec<Waiter>>;

static BUCKETS: [Bucket; 1 << BUCKET_BITS] = [const { SpinLock::new("futex", Vec::new()) }; 1 << BUCKET_BITS];

/// How many wait, and the bytes of heap that the buckets keep: a bucket that has grown does not
/// shrink.
#[cfg(feature = "selftest")]
pub(crate) fn waiters_and_bytes() -> (usize, usize) {
    BUCKETS.iter().fold((0, 0), |(waiters, bytes), bucket| {
        let bucket = bucket.lock();
        (waiters + bucket.len(), bytes + bucket.capacity() * size_of::<Waiter>())
    })
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

/// The word at `address`, under a bucket's lock: it fails if the page is not mapped, for [`fetch`]
/// to bring it in without the lock.
fn peek(address: UserAddr) -> Option<u32> {
    address.load_u32().ok()
}

/// Brings in the page of the word at `address`.
fn fetch(address: UserAddr) -> Result<()> {
    address.read::<u32>().map(drop)
}

/// FUTEX_WAIT: sleeps if the word at `address` is `expected`.
fn wait(key: Key, address: UserAddr, expected: u32, bits: u32, deadline_tb: Option<u64>) -> Result {
    let thread = current_thread();
    loop {
        // Before we are queued: later wake-ups are for us.
        thread.futex.reset();
        let mut waiters = BUCKETS[key.bucket()].lock();
        match peek(address) {
            Some(word) if word == expected => {
                thread.futex_bucket.store(key.bucket(), Ordering::Relaxed);
                waiters.push(Waiter { key, bits, task: task::current().to_ref() });
                break;
            }
            Some(_) => return Err(Errno::EAGAIN),
            None => drop(waiters),
        }
        fetch(address)?;
    }
    let outcome = thread.futex.wait(deadline_tb);
    if outcome == Ok(true) || !leave(&thread) {
        return Ok(0);
    }
    Err(match (outcome, deadline_tb) {
        (Ok(_), _) => Errno::ETIMEDOUT,
        // As in Linux, SA_RESTART is for a wait without end only.
        (Err(_), None) => ERESTARTSYS,
        (Err(_), Some(_)) => ERESTARTNOHAND,
    })
}

/// Takes the current thread out of its bucket; false if it was woken before.
fn leave(thread: &Thread) -> bool {
    let me = task::current().as_ptr();
    while !thread.futex.has_happened() {
        // A requeue may move us between the load and the lock: look again.
        let mut waiters = BUCKETS[thread.futex_bucket.load(Ordering::Relaxed)].lock();
        if let Some(at) = waiters.iter().position(|waiter| waiter.task.as_ptr() == me) {
            let gone = waiters.remove(at);
            drop(waiters);
            drop(gone);
            return true;
        }
    }
    false
}

/// Takes up to `count` waiters of `key` that share one of `bits` out of a bucket.
fn take(waiters: &mut Vec<Waiter>, key: Key, count: usize, bits: u32) -> Vec<Waiter> {
    let mut taken = Vec::new();
    let mut at = 0;
    while taken.len() < count && at < waiters.len() {
        if waiters[at].key == key && waiters[at].bits & bits != 0 {
            taken.push(waiters.remove(at));
        } else {
            at += 1;
        }
    }
    taken
}

/// Wakes the waiters that [`take`] took. No lock is held, since this may drop the last reference to
/// a task.
fn wake_taken(taken: Vec<Waiter>) -> u64 {
    let count = taken.len() as u64;
    for waiter in taken {
        if let Some(thread) = &waiter.task.user {
            thread.futex.wake();
        }
    }
    count
}

/// FUTEX_WAKE: wakes up to `count` waiters; at least one, as in Linux.
fn wake(key: Key, count: i32, bits: u32) -> Result {
    let taken = take(&mut BUCKETS[key.bucket()].lock(), key, count.max(1) as usize, bits);
    Ok(wake_taken(taken))
}

/// FUTEX_REQUEUE: wakes up to `count` waiters of the first key and has up to
/// `move_count` others wait for the second.
fn requeue([from, to]: [Key; 2], count: i32, move_count: i32, compare: Option<(UserAddr, u32)>) -> Result {
    loop {
        let (mut source, mut target) = lock_both(from.bucket(), to.bucket());
        if let Some((address, expected)) = compare {
            match peek(address) {
                Some(word) if word == expected => {}
                Some(_) => return Err(Errno::EAGAIN),
                None => {
                    drop((source, target));
                    fetch(address)?;
                    continue;
                }
            }
        }
        let woken = take(&mut source, from, count as usize, ALL_BITS);
        let mut moved = take(&mut source, from, move_count as usize, ALL_BITS);
        let moved_count = moved.len() as u64;
        for waiter in &mut moved {
            waiter.key = to;
            if let Some(thread) = &waiter.task.user {
                thread.futex_bucket.store(to.bucket(), Ordering::Relaxed);
            }
        }
        target.as_mut().unwrap_or(&mut source).append(&mut moved);
        drop((source, target));
        return Ok(wake_taken(woken) + moved_count);
    }
}

/// Locks two buckets in the order of the table; the second is none if both are one.
fn lock_both(
    first: usize,
    second: usize,
) -> (SpinGuard<'static, Vec<Waiter>>, Option<SpinGuard<'static, Vec<Waiter>>>) {
    if first == second {
        return (BUCKETS[first].lock(), None);
    }
    if first < second {
        let first = BUCKETS[first].lock();
        (first, Some(BUCKETS[second].lock()))
    } else {
        let second = BUCKETS[second].lock();
        (BUCKETS[first].lock(), Some(second))
    }
}

/// Wakes one waiter of the word at `address`, which the kernel has changed, or tried to, at a
/// thread's end. A shared key: pthread_join waits as if other processes might have the word.
pub(crate) fn wake_at(address: UserAddr) {
    let _ = wake(Key::of_mapping(address), 1, ALL_BITS);
}
