//! /sys/kernel/lazy_trace: the switch of the trace, and its last events as text.

use alloc::string::String;
use alloc::sync::Arc;

use trace_format::Group;

use super::proc;
use crate::errno::Errno;
use crate::fs::inode::{Inode, Kind, root};
use crate::fs::{File, OpenFlags};
use crate::memory::heap;
use crate::mm::user_memory::Cursor;
use crate::trace;

/// How many events a read shows, and room for the text of one.
const MOST: usize = 1000;
const LINE_BYTES: usize = 200;
/// The longest list that can be written.
const LIST_BYTES: usize = 128;

/// Makes the file.
pub(super) fn init() -> Result<(), Errno> {
    let sys = root().directory()?.get_or_make_directory("sys");
    let kernel = sys.directory()?.get_or_make_directory("kernel");
    let made = Kind::generated(|_| {
        heap::check_room(MOST * LINE_BYTES)?;
        Ok(Arc::new(Trace(trace::render(MOST))))
    });
    kernel.directory()?.add("lazy_trace", Inode::new(made, 0o644))
}

/// The text at the time of the open.
struct Trace(String);

impl File for Trace {
    fn read(&self, to: &mut Cursor<'_>, at: u64, _: OpenFlags) -> Result<(), Errno> {
        proc::put_from(self.0.as_bytes(), to, at)
    }

    /// `on`, `off`, or a comma list of groups; a line's end is ignored.
    fn write(&self, from: &mut Cursor<'_>, _: u64, _: OpenFlags) -> Result<(), Errno> {
        let mut bytes = [0; LIST_BYTES];
        let len = from.remaining();
        let list = bytes.get_mut(..len).ok_or(Errno::EINVAL)?;
        // Without moving on: an error after bytes have moved is a short write.
        from.peek(list)?;
        let list = core::str::from_utf8(list).map_err(|_| Errno::EINVAL)?;
        let groups = Group::mask_of(list.trim_end()).ok_or(Errno::EINVAL)?;
        trace::set(groups).map_err(|_| Errno::ENOMEM)?;
        from.skip(len);
        Ok(())
    }

    fn is_seekable(&self) -> bool {
        true
    }
}
