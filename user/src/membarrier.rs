//! membarrier(2): a barrier on the CPUs where other threads run, so that those
//! threads need none of their own.

use crate::sys::{Errno, nr, syscall};

/// Membarrier's commands (`MEMBARRIER_CMD_*`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Command(pub usize);

impl Command {
    /// Which commands there are, as a mask of their values.
    pub const QUERY: Self = Self(0);
    /// A barrier in every running thread of the system.
    pub const GLOBAL: Self = Self(1);
    /// A barrier in every running thread of the processes that have registered for it.
    pub const GLOBAL_EXPEDITED: Self = Self(1 << 1);
    /// Registers this process for [`Command::GLOBAL_EXPEDITED`].
    pub const REGISTER_GLOBAL_EXPEDITED: Self = Self(1 << 2);
    /// A barrier in every running thread of this process, at once.
    pub const PRIVATE_EXPEDITED: Self = Self(1 << 3);
    /// Registers this process for [`Command::PRIVATE_EXPEDITED`].
    pub const REGISTER_PRIVATE_EXPEDITED: Self = Self(1 << 4);
    /// [`Command::PRIVATE_EXPEDITED`] for code that was changed.
    pub const PRIVATE_EXPEDITED_SYNC_CORE: Self = Self(1 << 5);
    /// Registers this process for [`Command::PRIVATE_EXPEDITED_SYNC_CORE`].
    pub const REGISTER_PRIVATE_EXPEDITED_SYNC_CORE: Self = Self(1 << 6);
    /// [`Command::PRIVATE_EXPEDITED`] for restartable sequences.
    pub const PRIVATE_EXPEDITED_RSEQ: Self = Self(1 << 7);
    /// Registers this process for [`Command::PRIVATE_EXPEDITED_RSEQ`].
    pub const REGISTER_PRIVATE_EXPEDITED_RSEQ: Self = Self(1 << 8);
    /// This process's registrations, as a mask of those commands.
    pub const GET_REGISTRATIONS: Self = Self(1 << 9);

    /// Whether [`Command::QUERY`]'s answer has this command.
    #[must_use]
    pub fn is_in(self, commands: usize) -> bool {
        commands & self.0 != 0
    }
}

/// The flag of [`Command::PRIVATE_EXPEDITED_RSEQ`]: only the thread that runs on
/// one CPU.
pub const FLAG_CPU: usize = 1;

/// Gives the kernel a command; QUERY's answer is a mask, the others' 0.
///
/// # Errors
/// `EINVAL` for an unknown command, `EPERM` without the registration that it needs.
pub fn membarrier(command: Command) -> Result<usize, Errno> {
    membarrier_on(command, 0, 0)
}

/// The whole call: flags, and the CPU that [`FLAG_CPU`] is about.
///
/// # Errors
/// Those of [`membarrier`], and `EINVAL` for a flag that the command does not take.
pub fn membarrier_on(command: Command, flags: usize, cpu: usize) -> Result<usize, Errno> {
    // SAFETY: it touches no memory.
    unsafe { syscall(nr::MEMBARRIER, [command.0, flags, cpu, 0, 0, 0]) }
}
