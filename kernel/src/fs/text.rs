//! A file is run or written, never both (Linux's `i_writecount`, `ETXTBSY`).

use alloc::sync::Arc;
use core::sync::atomic::{AtomicI32, Ordering};

use crate::errno::Errno;
use crate::fs::inode::Inode;

/// Descriptions that may write it, or, below zero, address spaces that run it. Relaxed
/// everywhere: only the number matters; the file's locks order reads and writes.
pub(super) type Users = AtomicI32;

/// A use of a file, as long as this lives: it counts as `STEP` and excludes uses of the other
/// sign.
pub(crate) struct Use<const STEP: i32>(Arc<Inode>);

/// The right to write a file.
pub(crate) type WriteAccess = Use<1>;
/// The program that an address space runs.
pub(crate) type Text = Use<-1>;

impl<const STEP: i32> Use<STEP> {
    /// `ETXTBSY` while the file has a use of the other kind.
    pub(crate) fn of(inode: &Arc<Inode>) -> Result<Self, Errno> {
        let one_more = |users: i32| (users * STEP >= 0).then_some(users + STEP);
        let entered = inode.users.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more);
        entered.map(|_| Use(inode.clone())).map_err(|_| Errno::ETXTBSY)
    }
}

impl Clone for Text {
    fn clone(&self) -> Self {
        Self::of(&self.0).expect("a program that runs is written")
    }
}

impl<const STEP: i32> Drop for Use<STEP> {
    fn drop(&mut self) {
        self.0.users.fetch_sub(STEP, Ordering::Relaxed);
    }
}
