//! The program of a process, as /proc shows it.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::Process;
use super::stack::AuxiliaryVector;

/// The program of the last exec; a fork's child shares it.
#[derive(Default)]
pub(crate) struct Program {
    /// The absolute path of the file.
    pub(crate) path: String,
    /// The arguments, each with a NUL behind it.
    pub(crate) arguments: Vec<u8>,
    /// The vector that the kernel put on the program's stack.
    pub(crate) auxiliary: AuxiliaryVector,
}

impl Process {
    /// The program that it runs.
    #[inline]
    pub(crate) fn program(&self) -> Arc<Program> {
        self.program.lock().clone()
    }

    /// It has exec'd.
    pub(super) fn set_program(&self, new: Program) {
        let old = core::mem::replace(&mut *self.program.lock(), Arc::new(new));
        // This may take long: not under the lock.
        drop(old);
    }
}
