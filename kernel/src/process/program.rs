//! What a process runs, as /proc tells it.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::Process;
use super::stack::AuxiliaryVector;

/// What exec made of a file; a fork's child has the same.
#[derive(Default)]
pub(crate) struct Program {
    /// The absolute path of the file.
    pub(crate) path: String,
    /// The arguments, each with a NUL behind it.
    pub(crate) arguments: Vec<u8>,
    /// What the kernel told the program of itself.
    pub(crate) auxiliary: AuxiliaryVector,
}

impl Process {
    /// What it runs.
    pub(crate) fn program(&self) -> Arc<Program> {
        self.program.lock().clone()
    }

    /// It has exec'd.
    pub(super) fn set_program(&self, new: Program) {
        let old = core::mem::replace(&mut *self.program.lock(), Arc::new(new));
        // Perhaps long: not under the lock.
        drop(old);
    }
}
