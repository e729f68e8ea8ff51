//! Robust futexes: the kernel marks those that a thread still holds at its end, and wakes a waiter
//! of each (Linux: kernel/futex/core.c, `exit_robust_list`).
//!
//! The program keeps the list in its own memory. An error there ends the walk, unreported.

use core::sync::atomic::Ordering;

use super::Result;
use super::futex::wake_at;
use super::processes::find_thread;
use crate::errno::Errno;
use crate::mm::user_memory::UserAddr;
use crate::process::{Thread, current_thread};
use crate::task;

/// Bytes of `struct robust_list_head`: the first entry, the word's offset from an entry, and
/// the entry that is being added or removed, if any.
const HEAD_BYTES: u64 = 24;

pub(super) fn set_robust_list(head: u64, bytes: u64) -> Result<()> {
    if bytes != HEAD_BYTES {
        return Err(Errno::EINVAL);
    }
    current_thread().robust_list.store(head, Ordering::Relaxed);
    Ok(())
}

pub(super) fn get_robust_list(tid: u32, head: UserAddr, bytes: UserAddr) -> Result<()> {
    let task = if tid == 0 { task::current().to_ref() } else { find_thread(tid)? };
    let list = task.user.as_ref().map_or(0, |thread| thread.robust_list.load(Ordering::Relaxed));
    bytes.write(HEAD_BYTES)?;
    head.write(list)
}

/// A pointer to an entry; the lowest bit marks priority inheritance.
#[derive(Clone, Copy)]
struct Entry(u64);

impl Entry {
    fn address(self) -> UserAddr {
        UserAddr(self.0 & !1)
    }

    /// Whether the futex is one with priority inheritance, whose waiters we do not wake.
    fn inherits_priority(self) -> bool {
        self.0 & 1 != 0
    }
}

/// Releases the robust futexes of `thread`, the current one, which ends or calls exec.
pub(crate) fn release(thread: &Thread) {
    let head = thread.robust_list.swap(0, Ordering::Relaxed);
    if head != 0 {
        let _ = walk(thread.tid(), UserAddr(head));
    }
}

fn walk(tid: u32, head: UserAddr) -> Result<()> {
    /// Linux's limit: the list may be a circle.
    const MAX_ENTRIES: usize = 2048;
    let [first, offset, pending]: [u64; 3] = head.read()?;
    let pending = Entry(pending);
    let mut entry = Entry(first);
    for _ in 0..MAX_ENTRIES {
        if entry.address() == head {
            break;
        }
        // Read before the release, after which the futex's memory may be given back. The futex is
        // released even if the read fails.
        let next: Result<u64> = entry.address().read();
        if entry.address() != pending.address() {
            release_futex(tid, entry, offset, false)?;
        }
        entry = Entry(next?);
    }
    if pending.address().is_null() { Ok(()) } else { release_futex(tid, pending, offset, true) }
}

/// Releases the futex of `entry`, if thread `tid` holds it (Linux: `handle_futex_death`).
fn release_futex(tid: u32, entry: Entry, offset: u64, pending: bool) -> Result<()> {
    const WAITERS: u32 = 0x8000_0000;
    const OWNER_DIED: u32 = 0x4000_0000;
    const TID: u32 = 0x3fff_ffff;
    // The offset may be below zero.
    let address = UserAddr(entry.address().0.wrapping_add(offset));
    if !address.0.is_multiple_of(4) {
        return Err(Errno::EINVAL);
    }
    let wakes = !entry.inherits_priority();
    let mut word: u32 = address.read()?;
    loop {
        // Released, and the thread has ended before it woke a waiter.
        if pending && wakes && word & TID == 0 {
            wake_at(address);
        }
        if word & TID != tid {
            return Ok(());
        }
        let died = word & WAITERS | OWNER_DIED;
        let found = address.exchange_u32(word, died)?;
        if found == word {
            break;
        }
        word = found;
    }
    if wakes && word & WAITERS != 0 {
        wake_at(address);
    }
    Ok(())
}
