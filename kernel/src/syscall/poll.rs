//! poll and ppoll.

use alloc::vec::Vec;

use arch::exceptions::TrapFrame;

use super::Result;
use super::signals::wait_unless_handled;
use super::time::{self, Timeout};
use super::watch::{self, Watched};
use crate::errno::Errno;
use crate::fs::poll::Events;
use crate::mm::user_memory::{Plain, UserAddr};
use crate::process::current;
use crate::process::limits::Resource;

/// Linux's `struct pollfd`.
#[derive(Clone, Copy)]
#[repr(C)]
struct PollFd {
    fd: i32,
    wanted: u16,
    found: u16,
}

// SAFETY: integers without padding.
unsafe impl Plain for PollFd {}

pub(super) fn poll(frame: &mut TrapFrame, fds: UserAddr, count: u32, timeout_ms: i32) -> Result {
    let deadline_tb = match timeout_ms {
        ..0 => None,
        ms => Some(time::deadline_after_ms(ms as u64)),
    };
    wait_unless_handled(frame, || poll_until(fds, count, deadline_tb))
}

pub(super) fn ppoll(
    frame: &mut TrapFrame,
    fds: UserAddr,
    count: u32,
    timeout: UserAddr,
    mask: UserAddr,
    mask_bytes: u64,
) -> Result {
    let timeout = Timeout::of_timespec(timeout)?;
    let mask = watch::read_mask(mask, mask_bytes)?;
    watch::call(frame, mask, timeout, |deadline_tb| poll_until(fds, count, deadline_tb))
}

fn poll_until(fds: UserAddr, count: u32, deadline_tb: Option<u64>) -> Result {
    if u64::from(count) > current().limits.get(Resource::Nofile) {
        return Err(Errno::EINVAL);
    }
    let mut files = watch::room_for(count as usize)?;
    for n in 0..count as usize {
        let entry: PollFd = fds.nth::<PollFd>(n).read()?;
        // Errors are always wanted.
        let wanted = Events::from_bits_truncate(entry.wanted) | Events::ERR | Events::HUP;
        files.push(match current().files.get(entry.fd as u64) {
            Ok(open) => Watched::File(open, wanted),
            Err(_) if entry.fd < 0 => Watched::Never(Events::empty()),
            Err(_) => Watched::Never(Events::NVAL),
        });
    }
    let mut found = Vec::with_capacity(files.len());
    let ready = watch::until_ready(&files, deadline_tb, || {
        found.clear();
        found.extend(files.iter().map(Watched::look));
        found.iter().filter(|found| !found.is_empty()).count() as u64
    })?;
    // Only the results are stored: the program may change the other fields meanwhile.
    for (n, found) in found.iter().enumerate() {
        fds.nth::<PollFd>(n).plus(core::mem::offset_of!(PollFd, found)).write(found.bits())?;
    }
    Ok(ready)
}
