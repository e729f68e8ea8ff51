//! Copies between a test's own memory and the loaded user memory.

use arch::uaccess::{self, BadAddress};

/// Fills `to` from user address `from`.
pub(super) fn copy_in(to: &mut [u8], from: u64) -> Result<(), BadAddress> {
    // SAFETY: `to` is writable for its length; any user address is allowed.
    unsafe { uaccess::copy_from_user(to.as_mut_ptr(), from, to.len()) }
}

/// Writes `from` to user address `to`.
pub(super) fn copy_out(to: u64, from: &[u8]) -> Result<(), BadAddress> {
    // SAFETY: `from` is readable for its length; any user address is allowed.
    unsafe { uaccess::copy_to_user(to, from.as_ptr(), from.len()) }
}
