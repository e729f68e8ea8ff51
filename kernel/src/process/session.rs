//! Process groups, and the sessions that they belong to (setpgid, setsid).
//!
//! There is no controlling terminal: a session only determines which groups a process may join.

use core::sync::atomic::Ordering;

use super::table::TABLE;
use super::{Process, current};
use crate::errno::Errno;
use crate::task::registry;

impl Process {
    /// The number of its session.
    pub(crate) fn session(&self) -> u32 {
        self.session.load(Ordering::Relaxed)
    }

    fn in_group(&self, group: u32) -> bool {
        self.group.load(Ordering::Relaxed) == group
    }

    fn leads_session(&self) -> bool {
        self.session() == self.pid
    }
}

/// setpgid: puts process `pid`, the caller or a child of it, into `group`: its own number, or a
/// group of the caller's session. A signal to that group is sent wholly before or after.
///
/// # Errors
/// `ESRCH` for a process that is neither, `EINVAL` for a further thread, `EPERM` for the
/// leader of a session, for a child in another session, and for a group that is not in the
/// caller's, `EACCES` for a child that has called exec.
pub(crate) fn set_group(pid: u32, group: u32) -> Result<(), Errno> {
    let me = current();
    // Not under the lock: this may drop the last reference to a task.
    let is_task = || registry::find(pid).is_some_and(|task| task.user.is_some());
    let no_process = || if is_task() { Errno::EINVAL } else { Errno::ESRCH };
    let found = TABLE.lock().processes.get(&pid).cloned();
    let process = found.ok_or_else(no_process)?;
    let table = TABLE.lock();
    if process.parent() == me.pid {
        if process.session() != me.session() {
            return Err(Errno::EPERM);
        }
        if process.executed.load(Ordering::Relaxed) {
            return Err(Errno::EACCES);
        }
    } else if process.pid != me.pid {
        return Err(Errno::ESRCH);
    }
    let joins = |other: &Process| other.in_group(group) && other.session() == me.session();
    if process.leads_session() || group != pid && !table.processes.values().any(|other| joins(other)) {
        return Err(Errno::EPERM);
    }
    process.group.store(group, Ordering::Relaxed);
    Ok(())
}

/// setsid: the current process gets a session and a group of its own. Returns their number.
///
/// # Errors
/// `EPERM` if there is a group of that number: the caller leads it, or has led it.
pub(crate) fn new_session() -> Result<u32, Errno> {
    let me = current();
    let table = TABLE.lock();
    if me.leads_session() || table.processes.values().any(|other| other.in_group(me.pid)) {
        return Err(Errno::EPERM);
    }
    me.session.store(me.pid, Ordering::Relaxed);
    me.group.store(me.pid, Ordering::Relaxed);
    Ok(me.pid)
}
