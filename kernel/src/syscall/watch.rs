//! Waiting until one of several files has an event: the common part of poll, ppoll, select and
//! pselect.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use arch::exceptions::TrapFrame;
use arch::timer;

use super::signals::wait_unless_handled;
use super::time::Timeout;
use super::{FRAME_REPLACED, Result};
use crate::errno::Errno;
use crate::fs::Description;
use crate::fs::poll::{Events, PollHead};
use crate::memory::heap;
use crate::mm::user_memory::UserAddr;
use crate::process::current_thread;
use crate::process::signal::{self, ERESTARTNOHAND};
use crate::task::{self, TaskRef};

/// A watched file, or a constant.
pub(super) enum Watched {
    /// A file, and the events wanted of it.
    File(Arc<Description>, Events),
    /// No file: always these events.
    Never(Events),
}

impl Watched {
    /// The wanted events that have happened.
    pub(super) fn look(&self) -> Events {
        match self {
            Watched::File(open, wanted) => open.file.events() & *wanted,
            Watched::Never(told) => *told,
        }
    }
}

/// Room for `count` files to watch.
///
/// # Errors
/// `ENOMEM`.
pub(super) fn room_for(count: usize) -> Result<Vec<Watched>> {
    // The files, and a place in the list of each.
    heap::check_room(count * 2 * size_of::<Watched>())?;
    Ok(Vec::with_capacity(count))
}

/// A thread that its files wake at changes, until this is dropped.
struct Registered<'a> {
    task: TaskRef,
    files: &'a [Watched],
}

impl<'a> Registered<'a> {
    fn new(files: &'a [Watched]) -> Self {
        let registered = Registered { task: task::current().to_ref(), files };
        registered.heads().for_each(|head| head.add(registered.task.clone()));
        registered
    }

    fn heads(&self) -> impl Iterator<Item = &'a PollHead> {
        self.files.iter().filter_map(|watched| match watched {
            Watched::File(open, _) => open.file.poll_head(),
            Watched::Never(_) => None,
        })
    }
}

impl Drop for Registered<'_> {
    fn drop(&mut self) {
        self.heads().for_each(|head| head.remove(&self.task));
    }
}

/// Waits until one of `files` is ready, and returns the result of `count` then; 0 if the time base
/// reaches the deadline before.
///
/// # Errors
/// [`ERESTARTNOHAND`] for a signal, even if the deadline has passed, as in Linux.
pub(super) fn until_ready(
    files: &[Watched],
    deadline_tb: Option<u64>,
    mut count: impl FnMut() -> u64,
) -> Result {
    loop {
        let in_time = wait(files, deadline_tb)?;
        let ready = count();
        // Another thread may have been faster.
        if ready != 0 || !in_time {
            return Ok(ready);
        }
    }
}

/// Sleeps until one of `files` has an event; false if the deadline came first.
fn wait(files: &[Watched], deadline_tb: Option<u64>) -> Result<bool> {
    let any = || files.iter().any(|watched| !watched.look().is_empty());
    if any() {
        return Ok(true);
    }
    if task::current().interrupted() {
        return Err(ERESTARTNOHAND);
    }
    if deadline_tb.is_some_and(|deadline| deadline <= timer::now_tb()) {
        return Ok(false);
    }
    let event = &current_thread().polled;
    let _registered = Registered::new(files);
    loop {
        // Before the look: a change after the look makes the event happen.
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

/// The mask that ppoll and pselect wait with, at `from`; none for NULL.
///
/// # Errors
/// `EINVAL` for a set of another size than the kernel's, `EFAULT`.
pub(super) fn read_mask(from: UserAddr, bytes: u64) -> Result<Option<u64>> {
    match from {
        UserAddr(0) => Ok(None),
        _ if bytes != size_of::<u64>() as u64 => Err(Errno::EINVAL),
        _ => from.read().map(Some),
    }
}

/// Makes `call`, which waits until the deadline that it gets, as [`wait_unless_handled`] does, and
/// stores the time left. `mask` are the blocked signals meanwhile. A handler that ends the wait
/// runs with them, too, and returns to the old ones.
pub(super) fn call(
    frame: &mut TrapFrame,
    mask: Option<u64>,
    timeout: Timeout,
    call: impl Fn(Option<u64>) -> Result + Copy,
) -> Result {
    let call = || {
        let result = call(timeout.deadline_tb);
        timeout.tell_rest();
        result
    };
    let Some(mask) = mask else { return wait_unless_handled(frame, call) };
    let before = current_thread().blocked.load(Ordering::Relaxed);
    signal::set_blocked(mask);
    loop {
        match call() {
            Err(ERESTARTNOHAND) if signal::interrupt(frame, Some(before)) => return Err(FRAME_REPLACED),
            Err(ERESTARTNOHAND) => {}
            result => {
                // A signal that came too late for the call waits for the next one.
                signal::set_blocked(before);
                return result;
            }
        }
    }
}
