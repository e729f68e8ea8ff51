//! All processes, by number; who is whose child.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use super::{INIT_PID, Process};
use crate::sync::SpinLock;
use crate::task;

/// Guards the table, and the `parent` and `group` of every process. The locks of a
/// process's signals and threads, run-queue locks and the heap's nest inside.
static TABLE: SpinLock<Table> = SpinLock::new("process table", Table::new());

/// The parent of those that have none.
const NOBODY: u32 = 0;

/// The processes that exist, the dead ones that nobody has waited for included.
struct Table {
    processes: BTreeMap<u32, Arc<Process>>,
    /// (parent, child).
    children: BTreeSet<(u32, u32)>,
}

impl Table {
    const fn new() -> Self {
        Table { processes: BTreeMap::new(), children: BTreeSet::new() }
    }

    fn children_of(&self, parent: u32) -> impl Iterator<Item = &Arc<Process>> {
        let pairs = self.children.range((parent, 0)..=(parent, u32::MAX));
        pairs.filter_map(|(_, child)| self.processes.get(child))
    }
}

/// Makes `process` known, as a child of its parent.
pub(super) fn add(process: Arc<Process>) {
    let mut table = TABLE.lock();
    table.children.insert((process.parent(), process.pid));
    table.processes.insert(process.pid, process);
}

/// As [`add`], of a child of the current process, unless a signal or a kill waits for
/// the current task: one that was sent to its group before must not miss the child.
/// Whoever sends to a group does so under the same lock ([`for_each`]).
pub(super) fn add_child(process: Arc<Process>) -> bool {
    let mut table = TABLE.lock();
    let undisturbed = !task::current().interrupted();
    if undisturbed {
        table.children.insert((process.parent(), process.pid));
        table.processes.insert(process.pid, process);
    }
    undisturbed
}

/// Calls `f` for every process. The table's lock is held: `f` is short and does not
/// sleep.
pub(crate) fn for_each(f: impl FnMut(&Process)) {
    TABLE.lock().processes.values().map(|process| &**process).for_each(f);
}

/// Puts `process` into a group: wholly before or after a signal to that group.
pub(crate) fn set_group(process: &Process, group: u32) {
    let _table = TABLE.lock();
    process.group.store(group, Ordering::Relaxed);
}

/// The process with number `pid`.
pub(crate) fn find(pid: u32) -> Option<Arc<Process>> {
    TABLE.lock().processes.get(&pid).cloned()
}

/// The parent of `process`, which is dead. Read under the lock: a parent that ends gives
/// its children away under it, so either that one tells the heir of the dead, or the heir
/// is found here.
pub(super) fn parent_of(process: &Process) -> Option<Arc<Process>> {
    TABLE.lock().processes.get(&process.parent()).cloned()
}

/// Gives the children of `pid` to init; to nobody if there is no other init, and
/// then the dead among them are forgotten. Returns init if one of them is dead, so
/// that init must be told.
pub(super) fn orphan_children(pid: u32) -> Option<Arc<Process>> {
    let mut table = TABLE.lock();
    let orphans: Vec<u32> = table.children_of(pid).map(|child| child.pid).collect();
    let init = if pid == INIT_PID { None } else { table.processes.get(&INIT_PID).cloned() };
    let heir = if init.is_some() { INIT_PID } else { NOBODY };
    let mut dead = Vec::new();
    for orphan in orphans {
        table.children.remove(&(pid, orphan));
        let Some(child) = table.processes.get(&orphan).cloned() else { continue };
        child.parent.store(heir, Ordering::Relaxed);
        let is_dead = child.is_dead();
        if is_dead && init.is_none() {
            table.processes.remove(&orphan);
        } else {
            table.children.insert((heir, orphan));
        }
        if is_dead {
            dead.push(child);
        }
    }
    drop(table);
    // Perhaps the last references to processes, so not under the lock.
    if dead.is_empty() { None } else { init }
}

/// What a look at the children found.
pub(super) enum Found {
    /// A dead child, which has left the table.
    Dead(Arc<Process>),
    /// Only living children.
    Living,
    /// No such child at all.
    None,
}

/// Takes one dead child of `parent` for which `chosen` out of the table; leaves it
/// there if `keep`.
pub(super) fn take_dead_child(parent: u32, keep: bool, chosen: impl Fn(&Process) -> bool) -> Found {
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
            if !keep {
                table.children.remove(&(parent, child.pid));
                table.processes.remove(&child.pid);
            }
            Found::Dead(child)
        }
        None if living => Found::Living,
        None => Found::None,
    }
}

/// Forgets the dead process `pid`, for which nobody will wait.
pub(super) fn forget(pid: u32) {
    let mut table = TABLE.lock();
    let gone = table.processes.remove(&pid);
    if let Some(process) = &gone {
        table.children.remove(&(process.parent(), pid));
    }
    drop(table);
    drop(gone);
}
