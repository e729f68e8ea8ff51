//! The alternate signal stack of a thread (Linux: `do_sigaltstack`).

use crate::errno::Errno;
use crate::mm::user_memory::Plain;
use crate::sync::SpinLock;

/// ss_flags: it is in use.
const SS_ONSTACK: u32 = 1;
/// ss_flags: there is none.
const SS_DISABLE: u32 = 2;
/// ss_flags: the stack is taken away when a handler begins, and set again when it returns.
const SS_AUTODISARM: u32 = 1 << 31;
/// The least size, in bytes (Linux: `MINSIGSTKSZ`).
const MIN_BYTES: u64 = 2048;

/// `stack_t`.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct AlternateStack {
    /// Its lowest address.
    base: u64,
    /// SS_ bits.
    flags: u32,
    pad: u32,
    /// Bytes.
    size: u64,
}

// SAFETY: integers, and the gap is a field.
unsafe impl Plain for AlternateStack {}

impl AlternateStack {
    const NONE: Self = Self { base: 0, flags: SS_DISABLE, pad: 0, size: 0 };
}

/// The alternate stack of a thread, as it was set. Only the thread itself uses it.
pub(crate) struct StackCell(SpinLock<AlternateStack>);

impl StackCell {
    /// No stack.
    pub(crate) const fn none() -> Self {
        Self(SpinLock::new("alternate stack", AlternateStack::NONE))
    }

    fn store(&self, stack: AlternateStack) {
        *self.0.lock() = stack;
    }

    /// The stack as it was set, for the frame of a handler.
    pub(super) fn stored(&self) -> AlternateStack {
        *self.0.lock()
    }

    /// A copy of it, for a thread that has not run yet.
    pub(crate) fn copy(&self) -> Self {
        Self(SpinLock::new("alternate stack", self.stored()))
    }

    /// There is none any more.
    pub(crate) fn reset(&self) {
        self.store(AlternateStack::NONE);
    }

    /// A handler begins.
    pub(super) fn disarm(&self) {
        if self.stored().flags & SS_AUTODISARM != 0 {
            self.reset();
        }
    }

    /// Whether a thread with this stack pointer is on it. It grows down, so its end belongs to it.
    /// A stack that disarms itself counts as free: it is not used before it is set again.
    fn is_used(&self, stack_pointer: u64) -> bool {
        let AlternateStack { base, flags, size, .. } = self.stored();
        flags & SS_AUTODISARM == 0 && stack_pointer > base && stack_pointer - base <= size
    }

    /// The result of sigaltstack for a program with this stack pointer.
    pub(crate) fn told(&self, stack_pointer: u64) -> AlternateStack {
        let stored = self.stored();
        let state = match stored.size {
            0 => SS_DISABLE,
            _ if self.is_used(stack_pointer) => SS_ONSTACK,
            _ => 0,
        };
        AlternateStack { flags: state | stored.flags & SS_AUTODISARM, ..stored }
    }

    /// The start of the stack for a handler that wants it; none if there is no stack or it is in
    /// use.
    pub(super) fn free_top(&self, stack_pointer: u64) -> Option<u64> {
        let AlternateStack { base, size, .. } = self.stored();
        (size != 0 && !self.is_used(stack_pointer)).then(|| base.wrapping_add(size))
    }

    /// Sets it, for a program with this stack pointer.
    ///
    /// # Errors
    /// `EPERM` while it is in use, `EINVAL` for other flags, `ENOMEM` if it is too small.
    pub(crate) fn set(&self, wanted: AlternateStack, stack_pointer: u64) -> Result<(), Errno> {
        if self.is_used(stack_pointer) {
            return Err(Errno::EPERM);
        }
        match wanted.flags & !SS_AUTODISARM {
            SS_DISABLE => self.store(AlternateStack { base: 0, size: 0, ..wanted }),
            // SS_ONSTACK means the stack is wanted, as 0 does.
            0 | SS_ONSTACK if wanted.size < MIN_BYTES => return Err(Errno::ENOMEM),
            0 | SS_ONSTACK => self.store(wanted),
            _ => return Err(Errno::EINVAL),
        }
        Ok(())
    }
}
