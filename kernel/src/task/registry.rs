//! All tasks, by number.
//!
//! Numbers go up and wrap, so that one is not reused soon; 1 is the first process's. The table is
//! an array of short lists through the tasks themselves: no allocation.

use alloc::vec::Vec;

use super::descriptor::{Task, TaskPtr, TaskRef};
use crate::sync::SpinLock;
use crate::sync::list::List;

/// The number of all idle tasks.
pub(crate) const IDLE_TID: u32 = 0;
/// The number of the first process.
pub(crate) const INIT_TID: u32 = 1;
/// The largest number, Linux's limit on 64 bits.
const LAST_TID: u32 = 1 << 22;
/// Lists in the table.
pub(crate) const BUCKETS: usize = 256;

struct Registry {
    last: u32,
    buckets: [List<TaskPtr>; BUCKETS],
}

/// Guards the table and the `tid_node` links of the tasks in it, which have not exited. Innermost.
static REGISTRY: SpinLock<Registry> = SpinLock::new(
    "the table of tasks",
    Registry { last: INIT_TID, buckets: [const { List::new() }; BUCKETS] },
);

impl Registry {
    fn bucket(&mut self, tid: u32) -> &mut List<TaskPtr> {
        &mut self.buckets[tid as usize % BUCKETS]
    }

    fn find(&mut self, tid: u32) -> Option<&Task> {
        // SAFETY: a task leaves the table before it ends.
        self.bucket(tid).iter().map(|node| unsafe { node.value().get() }).find(|task| task.tid == tid)
    }
}

/// Where the lists are, for debuggers, which take no lock.
pub(crate) fn lists_address() -> usize {
    REGISTRY.lock().buckets.as_ptr().addr()
}

/// A number that no task in the table has. Only [`insert`] takes it: two tasks could get one number
/// if four million others were drawn in between.
#[inline]
pub(crate) fn next_tid() -> u32 {
    let mut registry = REGISTRY.lock();
    loop {
        let tid = if registry.last < LAST_TID { registry.last + 1 } else { INIT_TID + 1 };
        registry.last = tid;
        if registry.find(tid).is_none() {
            return tid;
        }
    }
}

/// Adds a task that is about to run for the first time.
pub(super) fn insert(task: &Task) {
    let mut registry = REGISTRY.lock();
    assert!(registry.find(task.tid).is_none(), "two tasks with number {}", task.tid);
    // SAFETY: it is new, so in no list, and it leaves this one before it ends.
    unsafe { registry.bucket(task.tid).push_back(&task.tid_node) };
}

/// Takes out the current task, which is about to end.
pub(super) fn remove(task: &Task) {
    REGISTRY.lock().bucket(task.tid).remove(&task.tid_node);
}

/// The task with number `tid`, if it has not exited.
pub(crate) fn find(tid: u32) -> Option<TaskRef> {
    REGISTRY.lock().find(tid).map(Task::to_ref)
}

/// References to all tasks but the idle ones, by number.
pub(crate) fn snapshot() -> Vec<TaskRef> {
    // No allocation under the lock. Tasks that come after the count are left out.
    let mut count = 0;
    for_each(|_| count += 1);
    let mut tasks = Vec::with_capacity(count);
    for_each(|task| {
        if tasks.len() < count {
            tasks.push(task.to_ref());
        }
    });
    // Numbers are unique; and the stable sort has a buffer of 4 KB on the stack.
    tasks.sort_unstable_by_key(|task: &TaskRef| task.tid);
    tasks
}

/// Calls `f` for every task but the idle ones. A spin lock is held: `f` is short.
pub(crate) fn for_each(mut f: impl FnMut(&Task)) {
    let registry = REGISTRY.lock();
    for node in registry.buckets.iter().flat_map(List::iter) {
        // SAFETY: a task leaves the table before it ends.
        f(unsafe { node.value().get() });
    }
}
