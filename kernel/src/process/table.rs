//! All processes, by number, and the children of each.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
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
    /// (parent, child).
    pub(super) children: BTreeSet<(u32, u32)>,
}

impl Table {
    const fn new() -> Self {
        Table { processes: BTreeMap::new(), children: BTreeSet::new() }
    }

    pub(super) fn children_of(&self, parent: u32) -> impl Iterator<Item = &Arc<Process>> {
        let pairs = self.children.range((parent, 0)..=(parent, u32::MAX));
        pairs.filter_map(|(_, child)| self.processes.get(child))
    }

    /// Takes `process` out if it is in the table.
    pub(super) fn remove(&mut self, process: &Process) -> Option<Arc<Process>> {
        let known = self.processes.get(&process.pid)?;
        if !core::ptr::eq(&raw const **known, process) {
            return None;
        }
        self.children.remove(&(process.parent(), process.pid));
        self.processes.remove(&process.pid)
    }

    fn insert(&mut self, process: Arc<Process>) {
        self.children.insert((process.parent(), process.pid));
        self.processes.insert(process.pid, process);
    }
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
pub(super) fn take_dead_child(parent: u32, chosen: impl Fn(&Process) -> bool) -> Found {
    let mut table = TABLE.lock();
    let mut living = false;
    let mut dead = None;
    for child in table.children_of(parent).filter(|child| chosen(child)) {
        if child.is_dead() {
            dead = Some(child.clone());
            break;
        }
        living = true;
    }
    match dead {
        Some(child) => {
            table.children.remove(&(parent, child.pid));
            table.processes.remove(&child.pid);
            Found::Dead(child)
        }
        None if living => Found::Living,
        None => Found::None,
    }
}

/// Forgets `process`, which never began.
pub(super) fn forget(process: &Process) {
    let gone = TABLE.lock().remove(process);
    drop(gone);
}
