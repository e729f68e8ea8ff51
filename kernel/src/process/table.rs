//! All processes, by number, and the children of each.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicU32, Ordering};

use super::{Process, current_thread};
use crate::sync::SpinLock;
use crate::task;

/// Guards the table, and the family of each process: `parent`, `parent_task`, `exit_signal`,
/// `group`, `session`. The locks of a process's signals, handlers and threads, run-queue locks and
/// the heap's nest inside.
pub(super) static TABLE: SpinLock<Table> = SpinLock::new("process table", Table::new());

/// The `parent` of a process without one.
pub(super) const NOBODY: u32 = 0;

/// The processes that exist, including dead ones until they are waited for.
pub(super) struct Table {
    pub(super) processes: BTreeMap<u32, Arc<Process>>,
}

/// The children of a process, the oldest first, each of which names it as its parent. Under the table's
/// lock.
pub(super) struct Children(UnsafeCell<Vec<Arc<Process>>>);

// SAFETY: the vector is only reached with a reference to the one table, which proves that its lock is
// held; it is lent mutably for a mutable one.
unsafe impl Sync for Children {}

impl Children {
    pub(super) const fn none() -> Self {
        Self(UnsafeCell::new(Vec::new()))
    }

    pub(super) fn get<'a>(&'a self, _: &'a Table) -> &'a [Arc<Process>] {
        // SAFETY: see `Sync`.
        unsafe { &*self.0.get() }
    }

    pub(super) fn get_mut<'a>(&'a self, _: &'a mut Table) -> &'a mut Vec<Arc<Process>> {
        // SAFETY: see `Sync`.
        unsafe { &mut *self.0.get() }
    }
}

impl Table {
    const fn new() -> Self {
        Table { processes: BTreeMap::new() }
    }

    /// The parent of `process`, if there is one.
    pub(super) fn parent_of(&self, process: &Process) -> Option<&Arc<Process>> {
        self.processes.get(&process.parent())
    }

    /// Takes `process` out if it is in the table: its own reference, and its parent's.
    pub(super) fn remove(&mut self, process: &Process) -> [Option<Arc<Process>>; 2] {
        if !self.processes.get(&process.pid).is_some_and(|known| is(known, process)) {
            return [None, None];
        }
        let parent = self.parent_of(process).cloned();
        let childs = parent.as_ref().and_then(|parent| {
            let children = parent.children.get_mut(self);
            children.iter().position(|child| is(child, process)).map(|at| children.remove(at))
        });
        [self.processes.remove(&process.pid), childs]
    }

    fn insert(&mut self, process: Arc<Process>) {
        if let Some(parent) = self.parent_of(&process).cloned() {
            parent.children.get_mut(self).push(process.clone());
        }
        self.processes.insert(process.pid, process);
    }
}

fn is(known: &Arc<Process>, process: &Process) -> bool {
    core::ptr::eq(&raw const **known, process)
}

/// Makes `process` known: without a parent, in a group and a session of its own.
pub(super) fn add(process: Arc<Process>) {
    TABLE.lock().insert(process);
}

/// Makes `child` of the current thread known; with `sibling` it gets the caller's parent instead
/// (CLONE_PARENT). Not if a signal or a kill waits for the current task: one that was sent to its
/// group before must not miss the child. A sender to a group holds the table's lock ([`for_each`]).
/// Returns whether the child is known.
pub(super) fn add_child(child: Arc<Process>, sibling: bool) -> bool {
    let (me, thread) = (task::current(), current_thread());
    let process = &thread.process;
    let mut table = TABLE.lock();
    if me.interrupted() {
        return false;
    }
    let copy = |to: &AtomicU32, from: &AtomicU32| to.store(from.load(Ordering::Relaxed), Ordering::Relaxed);
    copy(&child.group, &process.group);
    copy(&child.session, &process.session);
    if sibling {
        copy(&child.parent, &process.parent);
        copy(&child.parent_task, &process.parent_task);
        copy(&child.exit_signal, &process.exit_signal);
    } else {
        child.parent.store(process.pid, Ordering::Relaxed);
        child.parent_task.store(me.tid(), Ordering::Relaxed);
        thread.has_children.store(true, Ordering::Relaxed);
    }
    table.insert(child);
    true
}

/// Calls `f` for every process. The table's lock is held: `f` is short and does not sleep.
pub(crate) fn for_each(f: impl FnMut(&Process)) {
    TABLE.lock().processes.values().map(|process| &**process).for_each(f);
}

/// The process with number `pid`.
pub(crate) fn find(pid: u32) -> Option<Arc<Process>> {
    TABLE.lock().processes.get(&pid).cloned()
}

/// Whether a process has number `pid`.
pub(super) fn contains(pid: u32) -> bool {
    TABLE.lock().processes.contains_key(&pid)
}

/// The result of a look at the children.
pub(super) enum Found {
    /// A dead child, which has left the table.
    Dead(Arc<Process>),
    /// Only living children.
    Living,
    /// No such child at all.
    None,
}

/// Finds a dead child of `parent` for which `chosen` holds, and takes it out of the table.
pub(super) fn take_dead_child(parent: &Process, chosen: impl Fn(&Process) -> bool) -> Found {
    let mut table = TABLE.lock();
    let mut found = Found::None;
    let children = parent.children.get_mut(&mut table);
    for (at, child) in children.iter().enumerate().filter(|(_, child)| chosen(child)) {
        found = Found::Living;
        if child.is_dead() {
            let child = children.remove(at);
            let tables = table.processes.remove(&child.pid);
            drop(tables);
            return Found::Dead(child);
        }
    }
    found
}

/// Forgets `process`, which never began.
pub(super) fn forget(process: &Process) {
    let gone = TABLE.lock().remove(process);
    drop(gone);
}
