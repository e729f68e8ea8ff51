//! A process's use of a table of descriptors: shared, given up by exec, ended once.

use alloc::sync::Arc;
use core::cell::UnsafeCell;
use core::ops::Deref;
use core::sync::atomic::{AtomicBool, Ordering};

use crate::fs::table::FileTable;

/// A process's use of a table. With the end of the last one everything is closed, though
/// the dead processes are still there.
pub(crate) struct TableUse {
    /// Read by the threads of the process; replaced by its only one (exec).
    table: UnsafeCell<Arc<FileTable>>,
    ended: AtomicBool,
}

// SAFETY: everything but `table` is atomic, and that one is replaced only while nobody
// else can read it: the contract of `unshare`.
unsafe impl Sync for TableUse {}

impl TableUse {
    /// A use of `table`.
    pub(crate) fn new(table: Arc<FileTable>) -> Self {
        table.users.fetch_add(1, Ordering::Relaxed);
        TableUse { table: UnsafeCell::new(table), ended: AtomicBool::new(false) }
    }

    fn table(&self) -> &Arc<FileTable> {
        // SAFETY: replaced only while nobody else reads it (the contract of `unshare`).
        unsafe { &*self.table.get() }
    }

    /// One more use of the same table.
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
        // A user more than there are costs a copy, and none comes: the threads of the process
        // are what shares it. Acquire: what the others did before what we do alone. Partner:
        // `FileTable::end_use`.
        if self.table().users.load(Ordering::Acquire) == 1 {
            return;
        }
        let copy = self.table().copy();
        copy.users.store(1, Ordering::Relaxed);
        // SAFETY: the caller's promise.
        let shared = unsafe { core::mem::replace(&mut *self.table.get(), copy) };
        shared.end_use();
    }

    /// Ends it, once: the process is about to be dead. May sleep.
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
    /// Of a process that was never started.
    fn drop(&mut self) {
        self.end();
    }
}
