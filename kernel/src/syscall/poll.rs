//! poll and ppoll.

use alloc::sync::Arc;
use alloc::vec::Vec;

use powerpc64::exceptions::TrapFrame;

use super::signals::wait_unless_handled;
use super::{Result, time};
use crate::errno::Errno;
use crate::fs::Description;
use crate::fs::poll::Events;
use crate::fs::table::MAX_FILES;
use crate::mm::heap;
use crate::process::signal::ERESTARTNOHAND;
use crate::process::user_memory::{self, Plain};
use crate::process::{current, current_thread};
use crate::task::{self, TaskRef};

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

/// One entry of a poll.
struct Polled {
    fd: PollFd,
    description: Option<Arc<Description>>,
}

impl Polled {
    fn read(address: u64) -> Result<Self> {
        let fd: PollFd = user_memory::read(address)?;
        let description = if fd.fd < 0 { None } else { current().files.get(fd.fd as u64).ok() };
        Ok(Polled { fd, description })
    }

    /// What has happened of what is wanted; errors are always wanted.
    fn look(&self) -> Events {
        let always = Events::ERR | Events::HUP;
        match &self.description {
            Some(open) => open.file.events() & (Events::from_bits_truncate(self.fd.wanted) | always),
            None if self.fd.fd < 0 => Events::empty(),
            None => Events::NVAL,
        }
    }
}

/// A thread that its files tell of changes, until this is dropped.
struct Registered<'a> {
    task: TaskRef,
    entries: &'a [Polled],
}

impl<'a> Registered<'a> {
    fn new(entries: &'a [Polled]) -> Self {
        let registered = Registered { task: task::current().to_ref(), entries };
        registered.heads().for_each(|head| head.add(registered.task.clone()));
        registered
    }

    fn heads(&self) -> impl Iterator<Item = &'a crate::fs::poll::PollHead> {
        let open = self.entries.iter().filter_map(|entry| entry.description.as_ref());
        open.filter_map(|open| open.file.poll_head())
    }
}

impl Drop for Registered<'_> {
    fn drop(&mut self) {
        self.heads().for_each(|head| head.remove(&self.task));
    }
}

pub(super) fn poll(frame: &mut TrapFrame) -> Result {
    let [fds, count, timeout_ms, ..] = frame.syscall_args();
    let deadline_tb = match timeout_ms as i32 {
        ..0 => None,
        ms => Some(time::deadline_after_ms(ms as u64)),
    };
    wait_unless_handled(frame, || poll_until(fds, count, deadline_tb))
}

pub(super) fn ppoll(frame: &mut TrapFrame) -> Result {
    let [fds, count, timeout, mask, ..] = frame.syscall_args();
    if mask != 0 {
        // Changing the mask for the wait is not there.
        return Err(Errno::ENOSYS);
    }
    let deadline_tb = time::read_deadline(timeout, None)?;
    wait_unless_handled(frame, || poll_until(fds, count, deadline_tb))
}

fn poll_until(fds: u64, count: u64, deadline_tb: Option<u64>) -> Result {
    if count > MAX_FILES as u64 {
        return Err(Errno::EINVAL);
    }
    // The entries, and a place in the list of each file.
    heap::check_room(count as usize * 2 * size_of::<Polled>())?;
    let address = |n: u64| fds + n * size_of::<PollFd>() as u64;
    let mut entries = (0..count).map(|n| Polled::read(address(n))).collect::<Result<Vec<_>>>()?;
    loop {
        let in_time = wait(&entries, deadline_tb)?;
        for entry in &mut entries {
            entry.fd.found = entry.look().bits();
        }
        let ready = entries.iter().filter(|entry| entry.fd.found != 0).count();
        // Somebody else may have been faster than us.
        if ready == 0 && in_time {
            continue;
        }
        for (entry, n) in entries.iter().zip(0..) {
            user_memory::write(address(n), entry.fd)?;
        }
        return Ok(ready as u64);
    }
}

/// Sleeps until one of `entries` has something to tell; false if the deadline came
/// first.
fn wait(entries: &[Polled], deadline_tb: Option<u64>) -> Result<bool> {
    let any = || entries.iter().any(|entry| !entry.look().is_empty());
    if any() {
        return Ok(true);
    }
    if deadline_tb.is_some_and(|deadline| deadline <= powerpc64::timer::now_tb()) {
        return Ok(false);
    }
    let event = &current_thread().polled;
    let _registered = Registered::new(entries);
    loop {
        // Before the look: what happens after it is an event.
        event.reset();
        if any() {
            return Ok(true);
        }
        match event.wait(deadline_tb) {
            Ok(true) => {}
            Ok(false) => return Ok(false),
            Err(_) => return Err(ERESTARTNOHAND),
        }
    }
}
