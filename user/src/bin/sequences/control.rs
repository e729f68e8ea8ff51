//! What the processes of a sequence share: the steps, and whose turn it is.
//!
//! A page of a file, mapped at the same address by each, so that a program finds it
//! after exec, too.

use core::sync::atomic::{AtomicU16, AtomicU32, AtomicU64, Ordering};
use core::time::Duration;

use user::file::Fd;
use user::memory::PAGE;
use user::{Errno, futex, sys};

use crate::seen::{self, Seen};

const ADDRESS: usize = 0x7000_0000;
/// Most steps of a sequence.
pub(crate) const MOST_STEPS: usize = 96;
/// Most processes of a sequence.
pub(crate) const MOST_PROCESSES: usize = 3;
/// CPUs that are used.
const MOST_CPUS: usize = 8;
/// The turn when all is done, or something is wrong.
const OVER: u32 = u32::MAX;
/// Machine time after which a step has hung.
const LIMIT: Duration = Duration::from_secs(20);
/// How often one looks before one sleeps, where one is told to.
const SPINS: u32 = 20_000;

/// Who does a step.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct Actor {
    pub(crate) process: u8,
    /// 0, or 1 for the second thread, which has a CPU of its own where there is one.
    pub(crate) thread: u8,
}

/// One step, as the file has it.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Step {
    pub(crate) op: u8,
    pub(crate) actor: Actor,
    pub(crate) page: u8,
    /// Of pages; or which word of the page.
    pub(crate) count: u8,
    pub(crate) spare: u8,
    pub(crate) value: u16,
    pub(crate) expected: Seen,
}

/// What stands before the steps in the file.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Head {
    pub(crate) number: u32,
    pub(crate) steps: u16,
    /// The size of the file at first.
    pub(crate) file_len: u16,
    /// Which CPU each process is on.
    pub(crate) homes: [u8; MOST_PROCESSES],
    /// Which process forks each.
    pub(crate) parents: [u8; MOST_PROCESSES],
    /// Whether a thread whose sibling has the turn looks for a while before it sleeps: then
    /// its CPU is not even lazy.
    pub(crate) spins: u8,
    pub(crate) spare: u8,
}

/// The page.
#[repr(C)]
pub(crate) struct Control {
    /// The step that is due. Whoever has done it stores the next, with release; whoever
    /// waits loads with acquire and sees all that was done before.
    turn: AtomicU32,
    /// The step that went wrong, what was seen, and a number that says more.
    failed: AtomicU32,
    seen: AtomicU16,
    detail: AtomicU64,
    /// All of these are written by the first process before there is another.
    pub(crate) head: Head,
    pub(crate) cpus: [u16; MOST_CPUS],
    pub(crate) nr_cpus: usize,
    /// The file, for reading and writing, and for reading only; the ends of a pipe.
    pub(crate) file: Fd,
    pub(crate) read_only: Fd,
    pub(crate) reader: Fd,
    pub(crate) writer: Fd,
    pub(crate) steps: [Step; MOST_STEPS],
}

const _: () = assert!(size_of::<Control>() <= PAGE && size_of::<Step>() == 10 && size_of::<Head>() == 16);

/// Maps the page, which is the first of `file`.
pub(crate) fn map(file: Fd) -> Result<*mut Control, Errno> {
    const MMAP: usize = 90;
    const READ_WRITE: usize = 3;
    const SHARED_FIXED: usize = 0x11;
    // SAFETY: nothing else is at that address: programs lie below, what the kernel
    // places far above.
    unsafe { sys::syscall(MMAP, [ADDRESS, PAGE, READ_WRITE, SHARED_FIXED, file.0 as usize, 0]) }?;
    Ok(ADDRESS as *mut Control)
}

/// The page, once it is mapped.
pub(crate) fn control() -> &'static Control {
    // SAFETY: mapped for good. The parts that are not atomic change only while the
    // first process is alone.
    unsafe { &*(ADDRESS as *const Control) }
}

impl Control {
    /// The step that is due, and its number: none after the last.
    pub(crate) fn due(&self) -> Option<(u32, &Step)> {
        let turn = self.turn.load(Ordering::Acquire);
        let steps = &self.steps[..usize::from(self.head.steps)];
        steps.get(turn as usize).map(|step| (turn, step))
    }

    /// Ends the step that is due.
    pub(crate) fn done(&self, step: &Step, seen: Seen) {
        if seen != step.expected {
            return self.fail(seen, 0);
        }
        self.turn.fetch_add(1, Ordering::Release);
        futex::wake_shared(&self.turn);
    }

    /// Ends the sequence: `seen` is not what the step that is due should show.
    pub(crate) fn fail(&self, seen: Seen, detail: u64) {
        let turn = self.turn.load(Ordering::Acquire);
        if turn != OVER
            && self.turn.compare_exchange(turn, OVER, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        {
            self.failed.store(turn, Ordering::Relaxed);
            self.detail.store(detail, Ordering::Relaxed);
            self.seen.store(seen, Ordering::Release);
        }
        futex::wake_shared(&self.turn);
    }

    /// Returns when step `turn` is not due any more; `near` if it is the other thread's.
    /// A step that hangs ends the sequence.
    pub(crate) fn wait(&self, turn: u32, near: bool) {
        let same = || self.turn.load(Ordering::Relaxed) == turn;
        let spins = if near && self.head.spins != 0 && self.nr_cpus > 1 { SPINS } else { 0 };
        for _ in 0..spins {
            if !same() {
                return;
            }
            core::hint::spin_loop();
        }
        if futex::wait_shared(&self.turn, turn, Some(LIMIT)) == Err(Errno::ETIMEDOUT) && same() {
            self.fail(seen::NO_ANSWER, 0);
        }
    }

    /// Whether a step went wrong: its number, what was seen, and more about it.
    pub(crate) fn failure(&self) -> Option<(u32, Seen, u64)> {
        let seen = self.seen.load(Ordering::Acquire);
        let failed = self.failed.load(Ordering::Relaxed);
        (failed != OVER).then(|| (failed, seen, self.detail.load(Ordering::Relaxed)))
    }

    /// Makes the first step due.
    pub(crate) fn begin(&self) {
        self.failed.store(OVER, Ordering::Relaxed);
        self.seen.store(0, Ordering::Relaxed);
        self.turn.store(0, Ordering::Release);
    }

    /// The CPU that `actor` belongs on.
    pub(crate) fn cpu_of(&self, actor: Actor) -> usize {
        let home = usize::from(self.head.homes[usize::from(actor.process)]);
        self.cpus[(home + usize::from(actor.thread)) % self.nr_cpus].into()
    }
}
