//! All processes, by number; who is whose child.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, Ordering};

use super::signal::{self, ChildEnds, Info, SIGCHLD};
use super::{INIT_PID, Process, current_thread};
use crate::sync::SpinLock;
use crate::task::{self, TaskRef};

/// Guards the table, and what every process has of its family: `parent`, `parent_task`,
/// `exit_signal`, `group`, `session`. The locks of a process's signals, handlers and
/// threads, run-queue locks and the heap's nest inside.
pub(super) static TABLE: SpinLock<Table> = SpinLock::new("process table", Table::new());

/// The parent of those that have none.
pub(super) const NOBODY: u32 = 0;

/// The processes that exist, the dead ones that nobody has waited for included.
pub(super) struct Table {
    pub(super) processes: BTreeMap<u32, Arc<Process>>,
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

    fn insert(&mut self, process: Arc<Process>) {
        self.children.insert((process.parent(), process.pid));
        self.processes.insert(process.pid, process);
    }
}

/// Makes `process` known: nobody's child, in a group and a session of its own.
pub(super) fn add(process: Arc<Process>) {
    TABLE.lock().insert(process);
}

/// Makes `child` of the current thread known; with `sibling` it gets the same parent
/// instead (CLONE_PARENT). Not if a signal or a kill waits for the current task: one that
/// was sent to its group before must not miss the child. Whoever sends to a group does so
/// under the same lock ([`for_each`]). Whether it is known.
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

/// Calls `f` for every process. The table's lock is held: `f` is short and does not
/// sleep.
pub(crate) fn for_each(f: impl FnMut(&Process)) {
    TABLE.lock().processes.values().map(|process| &**process).for_each(f);
}

/// The process with number `pid`.
pub(crate) fn find(pid: u32) -> Option<Arc<Process>> {
    TABLE.lock().processes.get(&pid).cloned()
}

/// `process` becomes dead, by `die`, and its parent is told. All under the lock: who waits for
/// it finds it dead only when the signal is sent. And a parent that ends gives its children
/// away under it: either that one finds this child dead and the heir is told, or the heir is
/// the parent here.
pub(super) fn bury(process: &Process, die: impl FnOnce()) {
    let mut table = TABLE.lock();
    die();
    let told = table.tell_parent(process);
    drop(table);
    told.wake();
}

/// Gives the children of `pid`, which ends, to init, or to nobody if there is no other init.
pub(super) fn orphan_children(pid: u32) {
    let mut table = TABLE.lock();
    let orphans: Vec<Arc<Process>> = table.children_of(pid).cloned().collect();
    let init = if pid == INIT_PID { None } else { table.processes.get(&INIT_PID).cloned() };
    let heir_task = init.as_ref().and_then(|init| init.adopting_task()).unwrap_or(0);
    let heir = if init.is_some() { INIT_PID } else { NOBODY };
    for orphan in &orphans {
        table.children.remove(&(pid, orphan.pid));
        table.children.insert((heir, orphan.pid));
        orphan.parent.store(heir, Ordering::Relaxed);
        // Init is not to be sent anything else (Linux: `reparent_leader`).
        orphan.exit_signal.store(SIGCHLD, Ordering::Relaxed);
        orphan.change_parent_task(heir_task, pid);
    }
    let dead = orphans.iter().filter(|orphan| orphan.is_dead());
    let told: Vec<Told> = dead.map(|orphan| table.tell_parent(orphan)).collect();
    // These are perhaps the last references to processes, so they go without the lock.
    drop(table);
    told.into_iter().for_each(Told::wake);
}

/// Who was told of a death, and whom that leaves without an entry in the table.
struct Told {
    parent: Option<Arc<Process>>,
    _forgotten: Option<Arc<Process>>,
}

impl Told {
    /// Wakes the parent if it waits. Without the table's lock.
    fn wake(self) {
        if let Some(parent) = self.parent {
            parent.child_ended.wake_all();
        }
    }
}

impl Table {
    /// Tells the parent of `process`, which is dead; forgets the process if nobody will wait
    /// for it (Linux: `do_notify_parent`).
    fn tell_parent(&mut self, process: &Process) -> Told {
        let signal = process.exit_signal.load(Ordering::Relaxed);
        let parent = self.processes.get(&process.parent()).cloned();
        let wish = match &parent {
            None => ChildEnds::Ignored,
            Some(parent) if signal == SIGCHLD => parent.handlers().for_children(),
            Some(_) => ChildEnds::Wait,
        };
        if let Some(parent) = parent.as_ref().filter(|_| wish != ChildEnds::Ignored)
            && (1..=signal::LAST).contains(&signal)
        {
            signal::send_to_process(parent, Info::of_child(signal, process.pid, process.status()));
        }
        let _forgotten = if wish == ChildEnds::Wait { None } else { self.remove(process) };
        Told { parent, _forgotten }
    }

    /// Takes `process` out, unless that was done.
    fn remove(&mut self, process: &Process) -> Option<Arc<Process>> {
        let known = self.processes.get(&process.pid)?;
        if !core::ptr::eq(&raw const **known, process) {
            return None;
        }
        self.children.remove(&(process.parent(), process.pid));
        self.processes.remove(&process.pid)
    }
}

/// The task `gone` of `process` has left the list of threads: its children get another
/// thread of the process as a parent, as in Linux. If none is left, the end of the process
/// gives them away.
pub(super) fn leave_children(process: &Process, gone: u32) {
    let table = TABLE.lock();
    let Some(heir) = process.adopting_task() else { return };
    for child in table.children_of(process.pid) {
        if child.parent_task.load(Ordering::Relaxed) == gone {
            child.change_parent_task(heir, process.pid);
        }
    }
}

impl Process {
    /// A thread that gets children of others. Under the lock on the list it is told so: it
    /// looks at that after it has left the list.
    fn adopting_task(&self) -> Option<u32> {
        let threads = self.threads.lock();
        let heir = threads.iter().find(|task| !task.killed())?;
        if let Some(thread) = &heir.user {
            thread.has_children.store(true, Ordering::Relaxed);
        }
        Some(heir.tid())
    }

    /// Its parent's thread, in process `parent`, has ended: `task` is the new one. Sends what
    /// threads of this process want then (prctl). With the table's lock held.
    fn change_parent_task(&self, task: u32, parent: u32) {
        self.parent_task.store(task, Ordering::Relaxed);
        let wanted = |task: &TaskRef| {
            task.user.as_ref().map_or(0, |thread| thread.parent_death_signal.load(Ordering::Relaxed))
        };
        let add = |mask, signal| if signal == 0 { mask } else { mask | signal::bit(signal) };
        // Sent without the lock, which sending takes.
        let signals = self.threads.lock().iter().map(wanted).fold(0, add);
        for signal in (1..=signal::LAST).filter(|&signal| signals & signal::bit(signal) != 0) {
            signal::send_to_process(self, Info::of_user(signal, parent, false));
        }
    }
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

/// Forgets `process`, which never began.
pub(super) fn forget(process: &Process) {
    let gone = TABLE.lock().remove(process);
    drop(gone);
}
