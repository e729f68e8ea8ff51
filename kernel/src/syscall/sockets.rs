//! Calls that make sockets and event counters.

use alloc::sync::Arc;

use super::Result;
use super::files::{PIPES_BYTES, add_pair};
use crate::errno::Errno;
use crate::fs::{Description, File, OpenFlags, eventfd as counters, messages, pipe as pipes};
use crate::memory::heap;
use crate::mm::user_memory::UserAddr;
use crate::process::current;

pub(super) fn socketpair(family: u64, kind: u64, protocol: u64, fds: UserAddr) -> Result {
    const SOCK_TYPE: u32 = 0xf;
    /// Types are below this.
    const SOCK_MAX: u32 = 11;
    const AF_UNIX: i32 = 1;
    const AF_INET: i32 = 2;
    const AF_INET6: i32 = 10;
    // SOCK_NONBLOCK and SOCK_CLOEXEC are the O_ flags.
    let (kind, flags) = (kind as u32 & SOCK_TYPE, kind as u32 & !SOCK_TYPE);
    if flags & !(OpenFlags::NONBLOCK | OpenFlags::CLOEXEC).bits() != 0 || kind >= SOCK_MAX {
        return Err(Errno::EINVAL);
    }
    match (family as i32, protocol as i32) {
        (AF_UNIX, 0 | AF_UNIX) => {}
        (AF_UNIX, _) => return Err(Errno::EPROTONOSUPPORT),
        (AF_INET | AF_INET6, _) => return Err(Errno::EOPNOTSUPP),
        _ => return Err(Errno::EAFNOSUPPORT),
    }
    heap::check_room(PIPES_BYTES)?;
    let flags = OpenFlags::from_bits_truncate(flags);
    let (first, second) = pair(kind)?;
    let open = |file| Description::new(file, flags | OpenFlags::RDWR);
    add_pair(fds, open(first), open(second), flags)
}

/// A pair of Unix sockets of this type.
fn pair(kind: u32) -> Result<(Arc<dyn File>, Arc<dyn File>)> {
    const SOCK_STREAM: u32 = 1;
    const SOCK_DGRAM: u32 = 2;
    /// A datagram socket in Linux, too.
    const SOCK_RAW: u32 = 3;
    const SOCK_SEQPACKET: u32 = 5;
    match kind {
        SOCK_STREAM => Ok(pipes::pair()),
        SOCK_DGRAM | SOCK_RAW => Ok(messages::pair(messages::Kind::Datagram)),
        SOCK_SEQPACKET => Ok(messages::pair(messages::Kind::Sequenced)),
        _ => Err(Errno::ESOCKTNOSUPPORT),
    }
}

pub(super) fn eventfd2(start: u64, flags: u64) -> Result {
    const EFD_SEMAPHORE: u32 = 1;
    let flags = flags as u32;
    // EFD_NONBLOCK and EFD_CLOEXEC are the O_ flags.
    let open = OpenFlags::from_bits_retain(flags & !EFD_SEMAPHORE);
    if !(OpenFlags::NONBLOCK | OpenFlags::CLOEXEC).contains(open) {
        return Err(Errno::EINVAL);
    }
    heap::check_room(PIPES_BYTES)?;
    let counter = counters::new(start as u32, flags & EFD_SEMAPHORE != 0);
    let description = Description::new(counter, open | OpenFlags::RDWR);
    current().files.add(description, open.contains(OpenFlags::CLOEXEC), 0)
}
