//! wait4: the death of children.

use crate::errno::Errno;
use crate::process::exit::Status;
use crate::process::table::{self, Found};
use crate::process::{Process, current, signal};
use crate::task::Usage;

/// Which children are waited for, as wait4's first argument says.
#[derive(Clone, Copy)]
pub(crate) enum Which {
    /// Any child.
    Any,
    /// The one with this number.
    Pid(u32),
    /// Those in this process group.
    Group(u32),
}

impl Which {
    fn matches(self, child: &Process) -> bool {
        match self {
            Which::Any => true,
            Which::Pid(pid) => child.pid == pid,
            Which::Group(group) => child.group.load(core::sync::atomic::Ordering::Relaxed) == group,
        }
    }
}

/// Waits until a child has ended and returns its number, how it ended and what it used; none if
/// `no_hang` and none has. The child is then forgotten. `ECHILD` without such
/// children; interruptible.
pub(crate) fn wait(which: Which, no_hang: bool) -> Result<Option<(u32, Status, Usage)>, Errno> {
    let parent = current();
    let look = || table::take_dead_child(parent.pid, true, |child| which.matches(child));
    loop {
        match table::take_dead_child(parent.pid, false, |child| which.matches(child)) {
            Found::Dead(child) => {
                let usage = parent.add_child_usage(&child);
                return Ok(Some((child.pid, child.status(), usage)));
            }
            Found::None => return Err(Errno::ECHILD),
            Found::Living if no_hang => return Ok(None),
            // Another thread may take the child before us: then around again.
            Found::Living => {
                signal::wait(&parent.child_ended, || !matches!(look(), Found::Living))?;
            }
        }
    }
}
