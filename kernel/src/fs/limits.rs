//! A process's limits for files.

use crate::errno::Errno;
use crate::upcalls::signal;
use crate::upcalls::{NR_OPEN, Resource, limit_of_current};

/// A signal for a file that would get too large.
const SIGXFSZ: u32 = 25;

/// Descriptors that the current process may have: `RLIMIT_NOFILE`.
pub(crate) fn max_files() -> usize {
    limit_of_current(Resource::Nofile).min(NR_OPEN) as usize
}

/// How large the current process may make a file: `RLIMIT_FSIZE`, and the largest offset.
pub(super) fn max_file_size() -> u64 {
    limit_of_current(Resource::Fsize).min(i64::MAX as u64)
}

/// `EFBIG`, with a signal, if the current process may not make a file of `len` bytes longer,
/// up to `wanted`.
pub(super) fn check_growth(len: u64, wanted: u64) -> Result<(), Errno> {
    if wanted > len && wanted > max_file_size() { Err(too_large()) } else { Ok(()) }
}

/// Sends the current process the signal for a file that would get too large.
#[cold]
pub(super) fn too_large() -> Errno {
    signal::send_to_current(SIGXFSZ);
    Errno::EFBIG
}
