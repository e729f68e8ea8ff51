//! Which process waits for which other's record lock: a deadlock is a ring of such waits.

use alloc::vec::Vec;

use crate::errno::Errno;
use crate::lock_ranges::Owner;

/// One wait.
struct Wait {
    ticket: Ticket,
    waiter: Owner,
    /// A process that has what the waiter wants.
    blocker: Owner,
    /// The file's inode.
    inode: u64,
}

/// A wait's number, which no other wait has or had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket(u64);

/// The waits for locks of all files, since a deadlock can go through several.
#[derive(Default)]
pub struct Waits {
    list: Vec<Wait>,
    next_ticket: u64,
}

impl Waits {
    /// No waits.
    #[must_use]
    pub const fn new() -> Self {
        Waits { list: Vec::new(), next_ticket: 0 }
    }

    /// The bytes of memory that [`Waits::add`] takes at most.
    #[must_use]
    pub fn bytes_to_add(&self) -> usize {
        2 * (self.list.len() + 4) * size_of::<Wait>()
    }

    /// `waiter` is going to wait for `blocker`.
    ///
    /// # Errors
    /// `EDEADLK` if `blocker` waits for `waiter`, directly or through others; `ENOLCK`.
    pub fn add(&mut self, waiter: Owner, blocker: Owner, inode: u64) -> Result<Ticket, Errno> {
        let mut reached = blocker;
        // The search also ends in a ring that the waiter is no part of.
        for _ in 0..self.list.len() {
            let Some(next) = self.list.iter().find(|wait| wait.waiter == reached) else { break };
            reached = next.blocker;
            if reached == waiter {
                return Err(Errno::EDEADLK);
            }
        }
        self.list.try_reserve(1).map_err(|_| Errno::ENOLCK)?;
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        self.list.push(Wait { ticket, waiter, blocker, inode });
        Ok(ticket)
    }

    /// Ends all waits for locks of `inode`: something there is free. Each waiter looks again.
    pub fn end_all(&mut self, inode: u64) {
        self.list.retain(|wait| wait.inode != inode);
    }

    /// Ends a wait.
    pub fn end(&mut self, ticket: Ticket) {
        self.list.retain(|wait| wait.ticket != ticket);
    }

    /// Whether the wait has ended.
    #[must_use]
    pub fn has_ended(&self, ticket: Ticket) -> bool {
        self.list.iter().all(|wait| wait.ticket != ticket)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: u64 = 7;
    const OTHER_FILE: u64 = 8;

    /// Makes the waits one after the other; returns the last one's result.
    fn waits<const N: usize>(pairs: [(usize, usize); N]) -> (Waits, Result<Ticket, Errno>) {
        let (mut waits, mut last) = (Waits::new(), Err(Errno::EINVAL));
        for (waiter, blocker) in pairs {
            last = waits.add(Owner(waiter), Owner(blocker), FILE);
        }
        (waits, last)
    }

    #[test]
    fn a_ring_is_a_deadlock() {
        assert_eq!(waits([(1, 2), (2, 1)]).1, Err(Errno::EDEADLK));
        assert_eq!(waits([(1, 2), (2, 3), (3, 4), (4, 1)]).1, Err(Errno::EDEADLK));
        assert!(waits([(1, 2), (2, 3), (3, 4), (5, 1)]).1.is_ok());
        assert!(waits([(1, 2), (3, 2), (4, 2)]).1.is_ok());
    }

    #[test]
    fn a_wait_that_has_ended_is_in_no_ring() {
        let (mut waits, last) = waits([(2, 3), (1, 2)]);
        let ticket = last.unwrap();
        assert!(!waits.has_ended(ticket));
        waits.end(ticket);
        assert!(waits.has_ended(ticket));
        let again = waits.add(Owner(2), Owner(1), FILE).unwrap();
        assert_ne!(again, ticket);
    }

    #[test]
    fn the_waits_for_a_file_end_together() {
        let (mut waits, last) = waits([(1, 2), (3, 4)]);
        let elsewhere = waits.add(Owner(5), Owner(6), OTHER_FILE).unwrap();
        waits.end_all(FILE);
        assert!(waits.has_ended(last.unwrap()) && !waits.has_ended(elsewhere));
        // The search ends in a ring that was there before the waiter came.
        assert_eq!(waits.list.len(), 1);
    }

    #[test]
    fn a_ring_of_others_has_an_end() {
        let mut waits = Waits::new();
        waits.add(Owner(1), Owner(2), FILE).unwrap();
        // One owner, two threads: the second one's wait closes a ring that no EDEADLK has
        // reported.
        waits.list.push(Wait { ticket: Ticket(99), waiter: Owner(2), blocker: Owner(1), inode: FILE });
        assert!(waits.add(Owner(3), Owner(1), FILE).is_ok());
        assert!(waits.bytes_to_add() >= 8 * size_of::<Wait>());
    }
}
