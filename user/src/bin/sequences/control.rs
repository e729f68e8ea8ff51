//! The data that the processes of a sequence share: the steps, and whose turn it is.
//!
//! A page of a file, mapped at one address in each process, so that a program finds it
//! after exec, too.

use core::sync::atomic::{AtomicU16, AtomicU32, AtomicU64, Ordering};
use core::time::Duration;

use user::file::Fd;
use user::memory::PAGE;
use user::process::{self, Pid};
use user::{Errno, futex, println, sys};

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
/// Machine time after which a step is taken to hang.
const LIMIT: Duration = Duration::from_secs(20);
/// How many times a thread looks before it sleeps, in a sequence with `spins`.
const SPINS: u32 = 20_000;

/// The step that went wrong, its result, and a number with more detail.
pub(crate) type Failure = (u32, Seen, u64);

/// Prints a step that went wrong.
pub(crate) fn tell(sequence: u32, (step, seen, detail): Failure) {
    println!("sequences: {sequence} step {step}: seen {seen:#06x} ({detail:#x})");
}

/// The thread that does a step.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct Actor {
    pub(crate) process: u8,
    /// 0, or 1 for the second thread, which has a CPU of its own where there is one.
    pub(crate) thread: u8,
}

/// One step, as the file stores it.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Step {
    pub(crate) op: u8,
    pub(crate) actor: Actor,
    pub(crate) page: u8,
    /// A number of pages; or the word of the page.
    pub(crate) count: u8,
    pub(crate) spare: u8,
    pub(crate) value: u16,
    pub(crate) expected: Seen,
}

/// The file's header of the steps.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Head {
    pub(crate) number: u32,
    pub(crate) steps: u16,
    /// The size of the file at first.
    pub(crate) file_len: u16,
    /// The CPU of each process.
    pub(crate) homes: [u8; MOST_PROCESSES],
    /// The process that forks each.
    pub(crate) parents: [u8; MOST_PROCESSES],
    /// Whether a thread whose sibling has the turn looks for a while before it sleeps:
    /// until then its CPU is not even lazy.
    pub(crate) spins: u8,
    pub(crate) spare: u8,
}

/// The page.
#[repr(C)]
pub(crate) struct Control {
    /// The step that is due. The thread that has done it stores the next, with release;
    /// a thread that waits loads with acquire and sees all that was done before.
    turn: AtomicU32,
    /// The step that went wrong, its result, and a number with more detail.
    failed: AtomicU32,
    seen: AtomicU16,
    detail: AtomicU64,
    /// The first process writes all of these before there is another.
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
    // SAFETY: nothing else is at that address: programs lie below, and the kernel places
    // mappings far above.
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
    /// The step that is due, and its number; None after the last.
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

    /// Ends the sequence: the step that is due gave `seen`, which is not expected.
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

    /// Returns when step `turn` is not due any more. `near` says that the process's
    /// other thread does it. A step that hangs ends the program.
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
            // A process that hangs does not end by itself, so its process group is killed.
            tell(self.head.number, (turn, seen::NO_ANSWER, 0));
            let _ = process::kill(Pid(0), process::SIGKILL);
        }
    }

    /// Whether a step went wrong.
    pub(crate) fn failure(&self) -> Option<Failure> {
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
