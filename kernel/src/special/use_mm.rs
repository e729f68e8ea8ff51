//! /dev/use_mm: a kernel thread that works in the reader's address space.
//!
//! A read is served by this CPU's worker. It takes the reader's mm with `kthread_use_mm`, stores
//! byte `i & 0xff` at each place `i` of the buffer, page faults included, and gives the mm back,
//! as vhost and io_uring do in Linux.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicUsize, Ordering};

use kcore::mm::MmId;

use crate::errno::Errno;
use crate::fs::{File, OpenFlags};
use crate::machine::lazy_tlb;
use crate::mm::user_memory::{Cursor, UserSlice};
use crate::task::WaitQueue;
use crate::task::{current, work};

/// /dev/use_mm.
pub(crate) struct UseMm;

/// A request to the worker, and its answer.
struct Request {
    mm: MmId,
    buffer: UserSlice,
    /// `i` of the buffer's first byte.
    first: usize,
    /// Bytes stored, or `PENDING`.
    stored: AtomicUsize,
    done: WaitQueue,
}

const PENDING: usize = usize::MAX;

impl File for UseMm {
    fn read(&self, to: &mut Cursor<'_>, _: u64, _: OpenFlags) -> Result<(), Errno> {
        while let Some(buffer) = to.next_piece() {
            let stored = serve(buffer, to.done());
            to.skip(stored);
            if (stored as u64) < buffer.len {
                return Err(Errno::EFAULT);
            }
        }
        Ok(())
    }
}

/// Makes the worker fill `buffer` of the current process. Returns how many bytes it stored.
fn serve(buffer: UserSlice, first: usize) -> usize {
    // We are a user of the mm until we return from here.
    let mm = current().mm.mm();
    let request =
        Arc::new(Request { mm, buffer, first, stored: AtomicUsize::new(PENDING), done: WaitQueue::new() });
    let theirs = request.clone();
    work::queue(move || theirs.run());
    // F42 acquire: orders the result before the end of our wait. Partner: `run`.
    let done = || request.stored.load(Ordering::Acquire) != PENDING;
    // Not interruptible: the worker needs our use of the mm. It does not wait for us, so our wait
    // ends.
    request.done.wait_until(done);
    // F42 acquire: orders the result before our return, after which the mm may end. Partner: `run`.
    request.stored.load(Ordering::Acquire)
}

impl Request {
    /// Runs on the worker.
    fn run(&self) {
        lazy_tlb().kthread_use_mm(self.mm);
        let stored = self.fill();
        lazy_tlb().kthread_unuse_mm(self.mm);
        // F42 release: orders our leaving of the mm before the result. Partner: `serve`.
        self.stored.store(stored, Ordering::Release);
        self.done.wake_all();
    }

    fn fill(&self) -> usize {
        let pattern: [u8; 256] = core::array::from_fn(|i| i as u8);
        let pieces = [self.buffer];
        let Ok(mut buffer) = Cursor::new(&pieces) else { return 0 };
        while buffer.remaining() > 0 {
            let from = (self.first + buffer.done()) % pattern.len();
            if buffer.put(&pattern[from..]).is_err() {
                break;
            }
        }
        buffer.done()
    }
}
