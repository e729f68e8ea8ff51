//! A file is run or written, never both (Linux's `i_writecount`, `ETXTBSY`).

use alloc::sync::Arc;
use core::sync::atomic::{AtomicI32, Ordering};

use crate::errno::Errno;
use crate::fs::inode::Inode;

/// Descriptions that may write it, or, below zero, address spaces that run it.
pub(super) struct Users(AtomicI32);

impl Users {
    pub(super) const fn new() -> Self {
        Users(AtomicI32::new(0))
    }

    /// One more in the direction of `step`, unless there are some in the other. Relaxed:
    /// only the number matters; what is read and written is ordered by the file's locks.
    fn enter(&self, step: i32) -> Result<(), Errno> {
        let one_more = |users: i32| (users * step >= 0).then_some(users + step);
        let entered = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more);
        entered.map(drop).map_err(|_| Errno::ETXTBSY)
    }

    fn leave(&self, step: i32) {
        self.0.fetch_sub(step, Ordering::Relaxed);
    }
}

/// The right to write a file, as long as this lives.
pub(crate) struct WriteAccess(Arc<Inode>);

impl WriteAccess {
    const STEP: i32 = 1;

    /// `ETXTBSY` while somebody runs it.
    pub(crate) fn get(inode: &Arc<Inode>) -> Result<Self, Errno> {
        inode.users.enter(Self::STEP).map(|()| WriteAccess(inode.clone()))
    }
}

impl Drop for WriteAccess {
    fn drop(&mut self) {
        self.0.users.leave(Self::STEP);
    }
}

/// The program that an address space runs, which nobody writes as long as this lives.
pub(crate) struct Text(Arc<Inode>);

impl Text {
    const STEP: i32 = -1;

    /// `ETXTBSY` while somebody may write it.
    pub(crate) fn of(inode: &Arc<Inode>) -> Result<Self, Errno> {
        inode.users.enter(Self::STEP).map(|()| Text(inode.clone()))
    }
}

impl Clone for Text {
    fn clone(&self) -> Self {
        Self::of(&self.0).expect("a program that runs is written")
    }
}

impl Drop for Text {
    fn drop(&mut self) {
        self.0.users.leave(Self::STEP);
    }
}
