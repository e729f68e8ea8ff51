//! Who waits for whose record lock: what a deadlock is seen by.

use alloc::vec::Vec;

use crate::errno::Errno;
use crate::fs::lock_ranges::Owner;
use crate::mm::heap;
use crate::sync::SpinLock;

/// One wait.
struct Wait {
    ticket: Ticket,
    waiter: Owner,
    /// One that has what is waited for.
    blocker: Owner,
    /// The file's inode.
    inode: u64,
}

/// A wait's number, which no other has or had.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Ticket(u64);

struct Waits {
    list: Vec<Wait>,
    next_ticket: u64,
}

/// Of all files, since a deadlock can go through several. Nests inside a file's locks;
/// nothing nests inside but the heap's.
static WAITS: SpinLock<Waits> = SpinLock::new("lock waits", Waits { list: Vec::new(), next_ticket: 0 });

/// What [`add`] can take on the heap. Before the locks.
pub(super) fn check_room() -> Result<(), Errno> {
    let waits = WAITS.lock().list.len();
    heap::check_room(2 * (waits + 4) * size_of::<Wait>())
}

/// `waiter` is going to wait for `blocker`. With the file's locks held.
///
/// # Errors
/// `EDEADLK` if `blocker` waits for `waiter`, directly or through others; `ENOLCK`.
pub(super) fn add(waiter: Owner, blocker: Owner, inode: u64) -> Result<Ticket, Errno> {
    let mut waits = WAITS.lock();
    let mut reached = blocker;
    // A ring that the waiter is not part of has an end here, too.
    for _ in 0..waits.list.len() {
        let Some(next) = waits.list.iter().find(|wait| wait.waiter == reached) else { break };
        reached = next.blocker;
        if reached == waiter {
            return Err(Errno::EDEADLK);
        }
    }
    waits.list.try_reserve(1).map_err(|_| Errno::ENOLCK)?;
    let ticket = Ticket(waits.next_ticket);
    waits.next_ticket += 1;
    waits.list.push(Wait { ticket, waiter, blocker, inode });
    Ok(ticket)
}

/// Ends all waits for locks of `inode`: something there is free. Who waited looks again. With
/// the file's locks held, so that nobody is seen to wait for what is free already.
pub(super) fn end_all(inode: u64) {
    WAITS.lock().list.retain(|wait| wait.inode != inode);
}

/// Ends a wait.
pub(super) fn end(ticket: Ticket) {
    WAITS.lock().list.retain(|wait| wait.ticket != ticket);
}

/// Whether the wait has ended.
pub(super) fn has_ended(ticket: Ticket) -> bool {
    WAITS.lock().list.iter().all(|wait| wait.ticket != ticket)
}
