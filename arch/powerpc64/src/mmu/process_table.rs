//! The process table: for each PID the root of its tree.
//!
//! Entry 0 is the kernel's and serves quadrant 3 of every process. Entries are
//! read by all MMUs at any time.

use super::observer;
use crate::addr::PhysAddr;
use crate::encoding::pte::process_table_entry;
use crate::isa;
use core::ptr::NonNull;
use kcore::mm::Pid;
use volatile::VolatilePtr;

/// Processes the table has room for.
pub const PIDS: usize = 4096;
/// Bytes of the table, and its alignment.
pub const TABLE_BYTES: u64 = (PIDS * size_of::<Entry>()) as u64;
/// log2 of [`TABLE_BYTES`], for H_REGISTER_PROC_TBL.
pub const LOG2_BYTES: u32 = TABLE_BYTES.trailing_zeros();

#[derive(Clone, Copy, Debug)]
#[repr(C)]
struct Entry {
    /// Root and shape of the tree; 0: none, and every access faults.
    tree: u64,
    /// For a hashed address space; 0 under radix.
    segment_table: u64,
}

/// The table. A handle; copies name the same table.
#[derive(Clone, Copy, Debug)]
pub struct ProcessTable {
    base: PhysAddr,
}

impl ProcessTable {
    /// The table at `base`: [`TABLE_BYTES`] of zeroed memory, aligned to that.
    ///
    /// # Safety
    /// The memory is the table's for ever.
    #[must_use]
    pub const unsafe fn new(base: PhysAddr) -> Self {
        assert!(base.0.is_multiple_of(TABLE_BYTES), "process table not aligned to its size");
        ProcessTable { base }
    }

    /// Where it is, for the hypervisor.
    #[must_use]
    pub fn base(&self) -> PhysAddr {
        self.base
    }

    fn tree(&self, pid: Pid) -> VolatilePtr<'_, u64> {
        let index = pid.get() as usize;
        assert!(index < PIDS, "PID {index} is beyond the process table");
        let entries: *mut Entry = self.base.as_mut_ptr();
        // SAFETY: in the table (checked), which is ours for ever. The MMU reads
        // it at any time: volatile.
        unsafe { VolatilePtr::new(NonNull::new_unchecked(&raw mut (*entries.add(index)).tree)) }
    }

    /// Gives `pid` the tree at `root`. On return every CPU may load the PID.
    pub fn set(&self, pid: Pid, root: PhysAddr) {
        observer::tell(|observer| (observer.tree_set)(pid, root));
        self.tree(pid).write(process_table_entry(root));
        // Orders the entry before later walks. Partner: the walk of the CPU that loads the PID
        // next, this one or another.
        isa::ptesync();
        isa::isync();
    }

    /// Takes the tree of `pid` away: accesses through it fault from the next walk on, until
    /// [`ProcessTable::set`] gives the PID another tree. The entry becomes 0: no poison could
    /// show a use sooner. A flush with RIC 2 must follow before tables or PID are reused.
    pub fn clear(&self, pid: Pid) {
        self.tree(pid).write(0);
        // Orders the store before the flush, for every table walk.
        isa::ptesync();
        isa::isync();
        observer::tell(|observer| (observer.tree_cleared)(pid));
    }

    /// Has `pid` a tree?
    #[must_use]
    pub fn is_set(&self, pid: Pid) -> bool {
        self.tree(pid).read() != 0
    }
}
