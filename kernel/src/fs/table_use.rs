//! A process's use of a table of descriptors: shared, given up by exec, ended once.

use alloc::sync::Arc;
use core::cell::UnsafeCell;
use core::ops::Deref;
use core::sync::atomic::{AtomicBool, Ordering};

use crate::fs::table::FileTable;

/// A process's use of a table. The end of the last use closes all descriptors, even while the
/// dead processes are still there.
pub(crate) struct TableUse {
    /// Read by the threads of the process; replaced only by a single thread (exec).
    table: UnsafeCell<Arc<FileTable>>,
    ended: AtomicBool,
}

// SAFETY: everything but `table` is atomic, and `table` is replaced only while no other thread
// can read it: the contract of `unshare`.
unsafe impl Sync for TableUse {}

impl TableUse {
    /// A use of `table`.
    pub(crate) fn new(table: Arc<FileTable>) -> Self {
        table.users.fetch_add(1, Ordering::Relaxed);
        TableUse { table: UnsafeCell::new(table), ended: AtomicBool::new(false) }
    }

    fn table(&self) -> &Arc<FileTable> {
        // SAFETY: replaced only while no other thread reads it (the contract of `unshare`).
        unsafe { &*self.table.get() }
    }

    /// One more use of this table.
    pub(crate) fn share(&self) -> Self {
        self.table().begin_sharing();
        Self::new(self.table().clone())
    }

    /// exec: if other processes use the table, the use becomes one of a copy (Linux:
    /// `unshare_files`). The heap has room for it.
    ///
    /// # Safety
    /// The caller is the only thread of the process that has this use, and holds nothing
    /// that was borrowed from it.
    pub(crate) unsafe fn unshare(&self) {
        // An old count that is too high costs a copy. A count of 1 does not rise: only this process
        // could share the table, and its only thread is here. F44 acquire: orders the ends of other
        // uses before what we do with the table alone. Partner: `end_use`.
        if self.table().users.load(Ordering::Acquire) == 1 {
            return;
        }
        let copy = self.table().copy();
        copy.users.store(1, Ordering::Relaxed);
        // SAFETY: the caller's promise.
        let shared = unsafe { core::mem::replace(&mut *self.table.get(), copy) };
        shared.end_use();
    }

    /// Ends the use, once: the process is about to be dead. May sleep.
    pub(crate) fn end(&self) {
        if !self.ended.swap(true, Ordering::Relaxed) {
            self.table().end_use();
        }
    }
}

impl Deref for TableUse {
    type Target = FileTable;

    fn deref(&self) -> &FileTable {
        self.table()
    }
}

impl Drop for TableUse {
    /// The end of the use of a process that was never started.
    fn drop(&mut self) {
        self.end();
    }
}
