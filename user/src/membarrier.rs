//! membarrier(2): a barrier on the CPUs where other threads run, so that they need
//! none of their own.

use crate::sys::{Errno, nr, syscall};

/// What membarrier is asked (`MEMBARRIER_CMD_*`).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Command(usize);

impl Command {
    /// Which commands there are, as a mask of their values.
    pub const QUERY: Self = Self(0);
    /// A barrier in every running thread of the system.
    pub const GLOBAL: Self = Self(1);
    /// A barrier in every running thread of this process, at once.
    pub const PRIVATE_EXPEDITED: Self = Self(1 << 3);
    /// This process wants to use [`Command::PRIVATE_EXPEDITED`].
    pub const REGISTER_PRIVATE_EXPEDITED: Self = Self(1 << 4);

    /// Whether [`Command::QUERY`] answered that the kernel knows this one.
    #[must_use]
    pub fn is_in(self, commands: usize) -> bool {
        commands & self.0 != 0
    }
}

/// Gives the kernel a command; QUERY's answer is a mask, the others' 0.
///
/// # Errors
/// `EINVAL` for an unknown command, `EPERM` without the registration that it needs.
pub fn membarrier(command: Command) -> Result<usize, Errno> {
    // SAFETY: it touches no memory.
    unsafe { syscall(nr::MEMBARRIER, [command.0, 0, 0, 0, 0, 0]) }
}
