//! Robust futexes: those that a thread still holds at its end are marked, and a waiter of
//! each is woken (Linux: kernel/futex/core.c, `exit_robust_list`).
//!
//! The program keeps the list in its own memory, and what is wrong there ends the walk:
//! nobody can be told.

use core::sync::atomic::Ordering;

use arch::exceptions::TrapFrame;
use arch::uaccess;

use super::Result;
use super::futex::wake_at;
use super::processes::find_thread;
use crate::errno::Errno;
use crate::process::{Thread, current_thread, user_memory};
use crate::task;

/// Bytes of `struct robust_list_head`: the first entry, the word's offset from an entry, and
/// the entry that is being added or removed, if any.
const HEAD_BYTES: u64 = 24;

pub(super) fn set_robust_list(frame: &mut TrapFrame) -> Result {
    let [head, bytes, ..] = frame.syscall_args();
    if bytes != HEAD_BYTES {
        return Err(Errno::EINVAL);
    }
    current_thread().robust_list.store(head, Ordering::Relaxed);
    Ok(0)
}

pub(super) fn get_robust_list(frame: &mut TrapFrame) -> Result {
    let [tid, head, bytes, ..] = frame.syscall_args();
    let task = if tid as u32 == 0 { task::current().to_ref() } else { find_thread(tid as u32)? };
    let list = task.user.as_ref().map_or(0, |thread| thread.robust_list.load(Ordering::Relaxed));
    user_memory::write(bytes, HEAD_BYTES)?;
    user_memory::write(head, list).map(|()| 0)
}

/// A pointer to an entry: the lowest bit says that it has priority inheritance.
#[derive(Clone, Copy)]
struct Entry(u64);

impl Entry {
    fn address(self) -> u64 {
        self.0 & !1
    }

    /// Whether its waiters are woken by what hands it on, not by us.
    fn inherits_priority(self) -> bool {
        self.0 & 1 != 0
    }
}

/// Releases the robust futexes of `thread`, the current one, which ends or calls exec.
pub(crate) fn release(thread: &Thread) {
    let head = thread.robust_list.swap(0, Ordering::Relaxed);
    if head != 0 {
        let _ = walk(thread.tid(), head);
    }
}

fn walk(tid: u32, head: u64) -> Result<()> {
    /// Linux's limit: the list may be a circle.
    const MAX_ENTRIES: usize = 2048;
    let [first, offset, pending]: [u64; 3] = user_memory::read(head)?;
    let pending = Entry(pending);
    let mut entry = Entry(first);
    for _ in 0..MAX_ENTRIES {
        if entry.address() == head {
            break;
        }
        // Before the futex is released: then its memory may be given back. But it is
        // released also if the next one cannot be told.
        let next: Result<u64> = user_memory::read(entry.address());
        if entry.address() != pending.address() {
            release_futex(tid, entry, offset, false)?;
        }
        entry = Entry(next?);
    }
    if pending.address() == 0 { Ok(()) } else { release_futex(tid, pending, offset, true) }
}

/// Releases the futex of `entry`, if thread `tid` holds it (Linux: `handle_futex_death`).
fn release_futex(tid: u32, entry: Entry, offset: u64, pending: bool) -> Result<()> {
    const WAITERS: u32 = 0x8000_0000;
    const OWNER_DIED: u32 = 0x4000_0000;
    const TID: u32 = 0x3fff_ffff;
    let address = entry.address().wrapping_add(offset);
    if !address.is_multiple_of(4) {
        return Err(Errno::EINVAL);
    }
    let wakes = !entry.inherits_priority();
    let mut word: u32 = user_memory::read(address)?;
    loop {
        // Released, and the thread has ended before it woke a waiter.
        if pending && wakes && word & TID == 0 {
            wake_at(address);
        }
        if word & TID != tid {
            return Ok(());
        }
        let died = word & WAITERS | OWNER_DIED;
        let found = uaccess::cmpxchg_user_u32(address, word, died).map_err(|_| Errno::EFAULT)?;
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
