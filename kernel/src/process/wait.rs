//! wait4: the death of children.

use core::sync::atomic::Ordering;

use crate::errno::Errno;
use crate::process::exit::Status;
use crate::process::table::{self, Found};
use crate::process::{Process, current, signal};
use crate::task::{self, Usage};

/// The children to wait for: wait4's first argument.
#[derive(Clone, Copy)]
pub(crate) enum Which {
    /// Any child.
    Any,
    /// The one with this number.
    Pid(u32),
    /// All in this process group.
    Group(u32),
}

impl Which {
    fn matches(self, child: &Process) -> bool {
        match self {
            Which::Any => true,
            Which::Pid(pid) => child.pid == pid,
            Which::Group(group) => child.group.load(Ordering::Relaxed) == group,
        }
    }
}

bitflags::bitflags! {
    /// wait4's options.
    #[derive(Clone, Copy)]
    pub(crate) struct Options: u32 {
        /// Do not wait.
        const NOHANG = 0x1;
        /// Stopped children, too: there are none.
        const UNTRACED = 0x2;
        /// Continued children, too: there are none.
        const CONTINUED = 0x8;
        /// Only children of the calling thread, not those of others of its process.
        const NOTHREAD = 0x2000_0000;
        /// All children, with any signal or none at their end.
        const ALL = 0x4000_0000;
        /// Only children whose end sends no SIGCHLD.
        const CLONE = 0x8000_0000;
    }
}

impl Options {
    /// Whether the options choose `child` (Linux: `eligible_child`, `do_wait`).
    fn choose(self, child: &Process) -> bool {
        let sends_sigchld = child.exit_signal.load(Ordering::Relaxed) == signal::SIGCHLD;
        let kind = self.contains(Options::ALL) || sends_sigchld != self.contains(Options::CLONE);
        let mine = || child.parent_task.load(Ordering::Relaxed) == task::current().tid();
        kind && (!self.contains(Options::NOTHREAD) || mine())
    }
}

/// Waits until a child has ended. Returns its number, status and usage; none if `NOHANG` and no
/// child has ended. The child is then forgotten. `ECHILD` without such children; interruptible.
pub(crate) fn wait(which: Which, options: Options) -> Result<Option<(u32, Status, Usage)>, Errno> {
    let parent = current();
    let chosen = |child: &Process| which.matches(child) && options.choose(child);
    let no_hang = options.contains(Options::NOHANG);
    loop {
        // Before the look: a child that ends after it changes the number after it.
        let ends = parent.child_ends.load(Ordering::Relaxed);
        match table::take_dead_child(&parent, chosen) {
            Found::Dead(child) => {
                let usage = parent.add_child_usage(&child);
                return Ok(Some((child.pid, child.status(), usage)));
            }
            Found::None => return Err(Errno::ECHILD),
            Found::Living if no_hang => return Ok(None),
            // Another thread may take the child before us: then we wait again.
            Found::Living => {
                signal::wait(&parent.child_ended, || parent.child_ends.load(Ordering::Relaxed) != ends)?;
            }
        }
    }
}
