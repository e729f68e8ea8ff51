//! The effect of a process's end, or a thread's, on its parent and its children.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use super::signal::{self, ChildEnds, Info, SIGCHLD};
use super::table::{NOBODY, TABLE, Table};
use super::{INIT_PID, Process};
use crate::task::TaskRef;

/// `process` becomes dead, by `die`, and its parent is notified, all under the table's lock: a
/// parent that waits finds it dead only when the signal is sent. A parent that ends gives its
/// children away under this lock: either it finds this child dead and notifies the heir, or the
/// heir is the parent here.
pub(super) fn bury(process: &Process, die: impl FnOnce()) {
    let mut table = TABLE.lock();
    die();
    let told = table.tell_parent(process);
    drop(table);
    told.wake();
}

/// Gives the children of `process`, which ends, to init; if it is init, they have no parent.
pub(super) fn orphan_children(process: &Process) {
    let mut table = TABLE.lock();
    let orphans = core::mem::take(process.children.get_mut(&mut table));
    if orphans.is_empty() {
        return;
    }
    let pid = process.pid;
    let init = if pid == INIT_PID { None } else { table.processes.get(&INIT_PID).cloned() };
    let heir_task = init.as_ref().and_then(|init| init.adopting_task()).unwrap_or(0);
    let heir = if init.is_some() { INIT_PID } else { NOBODY };
    for orphan in &orphans {
        if let Some(init) = &init {
            init.children.get_mut(&mut table).push(orphan.clone());
        }
        orphan.parent.store(heir, Ordering::Relaxed);
        // Init gets no other signal from them (Linux: `reparent_leader`).
        orphan.exit_signal.store(SIGCHLD, Ordering::Relaxed);
        orphan.change_parent_task(heir_task, pid);
    }
    let dead = orphans.iter().filter(|orphan| orphan.is_dead());
    let told: Vec<Told> = dead.map(|orphan| table.tell_parent(orphan)).collect();
    // These may be the last references to processes, so they are dropped without the lock.
    drop(table);
    told.into_iter().for_each(Told::wake);
}

/// A notification of a death: the parent to wake, and the process if that leaves it without an
/// entry in the table.
struct Told {
    parent: Option<Arc<Process>>,
    _forgotten: [Option<Arc<Process>>; 2],
}

impl Told {
    /// Wakes the parent if it waits. Without the table's lock.
    #[inline]
    fn wake(self) {
        if let Some(parent) = self.parent {
            parent.child_ended.wake_all();
        }
    }
}

impl Table {
    /// Notifies the parent of `process`, which is dead; forgets the process if no parent will wait
    /// for it (Linux: `do_notify_parent`).
    fn tell_parent(&mut self, process: &Process) -> Told {
        let signal = process.exit_signal.load(Ordering::Relaxed);
        let parent = self.parent_of(process).cloned();
        let wish = match &parent {
            None => ChildEnds::Ignored,
            Some(parent) if signal == SIGCHLD => parent.handlers().for_children(),
            Some(_) => ChildEnds::Wait,
        };
        if let Some(parent) = &parent {
            // Relaxed: the queue orders it before the look for waiters, and this lock the death before
            // a waiter's look at its children. Before the signal: a wait that the signal ends finds
            // the child.
            parent.child_ends.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(parent) = parent.as_ref().filter(|_| wish != ChildEnds::Ignored)
            && (1..=signal::LAST).contains(&signal)
        {
            signal::send_to_process(parent, Info::of_child(signal, process.pid, process.status()));
        }
        let _forgotten = if wish == ChildEnds::Wait { [None, None] } else { self.remove(process) };
        Told { parent, _forgotten }
    }
}

/// The task `gone` of `process` has left the list of threads: its children get another thread of
/// the process as a parent, as in Linux. If no thread is left, the end of the process gives them
/// away.
pub(super) fn leave_children(process: &Process, gone: u32) {
    let table = TABLE.lock();
    let Some(heir) = process.adopting_task() else { return };
    for child in process.children.get(&table) {
        if child.parent_task.load(Ordering::Relaxed) == gone {
            child.change_parent_task(heir, process.pid);
        }
    }
}

impl Process {
    /// A thread that gets the children of other threads. `has_children` is set under the lock on
    /// the list: the thread looks at it after it has left the list.
    #[inline]
    fn adopting_task(&self) -> Option<u32> {
        let threads = self.threads.lock();
        let heir = threads.iter().find(|task| !task.killed())?;
        if let Some(thread) = &heir.user {
            thread.has_children.store(true, Ordering::Relaxed);
        }
        Some(heir.tid())
    }

    /// Its parent's thread, in process `parent`, has ended: `task` is the new one. Sends the
    /// signals that threads of this process want then (prctl). With the table's lock held.
    fn change_parent_task(&self, task: u32, parent: u32) {
        self.parent_task.store(task, Ordering::Relaxed);
        let wanted = |task: &TaskRef| {
            task.user.as_ref().map_or(0, |thread| thread.parent_death_signal.load(Ordering::Relaxed))
        };
        let add = |mask, signal| if signal == 0 { mask } else { mask | signal::bit(signal) };
        // The signals are sent without the lock, which sending takes.
        let signals = self.threads.lock().iter().map(wanted).fold(0, add);
        for signal in (1..=signal::LAST).filter(|&signal| signals & signal::bit(signal) != 0) {
            signal::send_to_process(self, Info::of_user(signal, parent, false));
        }
    }
}
