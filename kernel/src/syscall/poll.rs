//! poll and ppoll.

use alloc::vec::Vec;

use arch::exceptions::TrapFrame;

use super::Result;
use super::signals::wait_unless_handled;
use super::time::{self, Timeout};
use super::watch::{self, Watched};
use crate::errno::Errno;
use crate::fs::poll::Events;
use crate::process::current;
use crate::process::limits::Resource;
use crate::process::user_memory::{self, Plain};

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

pub(super) fn poll(frame: &mut TrapFrame) -> Result {
    let [fds, count, timeout_ms, ..] = frame.syscall_args();
    let deadline_tb = match timeout_ms as i32 {
        ..0 => None,
        ms => Some(time::deadline_after_ms(ms as u64)),
    };
    wait_unless_handled(frame, || poll_until(fds, count, deadline_tb))
}

pub(super) fn ppoll(frame: &mut TrapFrame) -> Result {
    let [fds, count, timeout, mask, mask_bytes, _] = frame.syscall_args();
    let timeout = Timeout::of_timespec(user_memory::UserAddr(timeout))?;
    let mask = watch::read_mask(mask, mask_bytes)?;
    watch::with_mask(frame, mask, || {
        let result = poll_until(fds, count, timeout.deadline_tb);
        timeout.tell_rest();
        result
    })
}

fn poll_until(fds: u64, count: u64, deadline_tb: Option<u64>) -> Result {
    let count = u64::from(count as u32);
    if count > current().limits.get(Resource::Nofile) {
        return Err(Errno::EINVAL);
    }
    let address = |n: usize| fds.wrapping_add((n * size_of::<PollFd>()) as u64);
    let mut files = watch::room_for(count as usize)?;
    for n in 0..count as usize {
        let entry: PollFd = user_memory::read(address(n))?;
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
    // Of the entries the program may change the rest meanwhile.
    for (n, found) in found.iter().enumerate() {
        let to = address(n).wrapping_add(core::mem::offset_of!(PollFd, found) as u64);
        user_memory::write(to, found.bits())?;
    }
    Ok(ready)
}
