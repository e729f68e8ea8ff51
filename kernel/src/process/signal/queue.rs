//! Signals that wait to be taken.

use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

use super::{LAST, SIGBUS, SIGFPE, SIGILL, SIGSEGV, SIGTRAP, bit};
use crate::errno::Errno;
use crate::mm::user_memory::Plain;
use crate::process::exit::Status;
use crate::sync::SpinLock;

/// A signal and its details: the used part of Linux's `siginfo_t`.
#[derive(Clone, Copy)]
pub(crate) struct Info {
    /// Its number.
    pub(crate) signal: u32,
    /// si_code: its origin.
    code: i32,
    /// By the code: an address, or a sender's pid and uid in the halves.
    value: u64,
    /// si_value, or si_status of a child in the high half.
    more: u64,
}

/// si_code: sent by kill.
const SI_USER: i32 = 0;
/// si_code: sent by the kernel.
const SI_KERNEL: i32 = 0x80;
/// si_code: sent by tgkill.
const SI_TKILL: i32 = -6;
/// si_code: a child has exited, or was killed.
const CLD_EXITED: i32 = 1;
const CLD_KILLED: i32 = 2;

impl Info {
    /// By the kernel, at the program's request.
    pub(crate) fn of_kernel(signal: u32) -> Self {
        Info { signal, code: SI_KERNEL, value: 0, more: 0 }
    }

    /// By the kernel, for an access to `address`.
    pub(crate) fn of_fault(signal: u32, code: i32, address: u64) -> Self {
        Info { signal, code, value: address, more: 0 }
    }

    /// By process `pid`, to a process or (`thread`) to a thread.
    pub(crate) fn of_user(signal: u32, pid: u32, thread: bool) -> Self {
        let code = if thread { SI_TKILL } else { SI_USER };
        Info { signal, code, value: u64::from(pid) << 32, more: 0 }
    }

    /// For the end of child `pid`.
    pub(crate) fn of_child(signal: u32, pid: u32, status: Status) -> Self {
        let killed = status.0 & 0x7f;
        let (code, status) = if killed == 0 { (CLD_EXITED, status.0 >> 8) } else { (CLD_KILLED, killed) };
        Info { signal, code, value: u64::from(pid) << 32, more: u64::from(status) << 32 }
    }

    /// As a program sends it, with a value: `signal`, and the rest of `from`.
    pub(crate) fn of_program(signal: u32, from: &LinuxInfo) -> Self {
        Info { signal, code: from.code, value: from.value, more: from.more }
    }

    /// Its place in the order of taking, the lowest first. First come signals from a fault of the
    /// thread (Linux: `dequeue_synchronous_signal`): their handler gets the program's address,
    /// which would be another handler's if that were taken before. Then by number, the signals that
    /// faults can send before all others (`next_signal`).
    fn turn(&self) -> (u32, u32) {
        match bit(self.signal) & SYNCHRONOUS != 0 {
            true if self.code > SI_USER => (0, 0),
            true => (1, self.signal),
            false => (2, self.signal),
        }
    }

    /// As `siginfo_t`.
    pub(crate) fn to_linux(self) -> LinuxInfo {
        LinuxInfo {
            signal: self.signal,
            errno: 0,
            code: self.code,
            pad: 0,
            value: self.value,
            more: self.more,
            rest: [0; 12],
        }
    }
}

/// Linux's `siginfo_t`, 128 bytes.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct LinuxInfo {
    signal: u32,
    errno: u32,
    code: i32,
    pad: u32,
    value: u64,
    more: u64,
    rest: [u64; 12],
}

impl LinuxInfo {
    /// Whether a program may send it to another thread: its code is neither the kernel's nor that
    /// of kill or tgkill.
    pub(crate) fn may_be_sent(&self) -> bool {
        self.code < SI_USER && self.code != SI_TKILL
    }
}

// SAFETY: integers only, and they fill it.
unsafe impl Plain for LinuxInfo {}
const _: () = assert!(size_of::<LinuxInfo>() == 128);

/// The first real-time signal. Real-time signals queue up; of another one at most one waits.
pub(crate) const FIRST_REAL_TIME: u32 = 32;
/// Most signals that wait in one queue.
const MAX_WAITING: usize = 1024;
/// From this many on no signal waits a second time: there is always room for one of each.
const MAX_REPEATING: usize = MAX_WAITING - LAST as usize;
/// The signals of faults (Linux's `SYNCHRONOUS_MASK`, of which SIGSYS is never sent here).
const SYNCHRONOUS: u64 = bit(SIGSEGV) | bit(SIGBUS) | bit(SIGILL) | bit(SIGTRAP) | bit(SIGFPE);

/// The signals that wait for a thread or a process.
pub(crate) struct Queue {
    /// Those in `waiting`, as a mask: written under the lock, read without.
    set: AtomicU64,
    /// Guards the signals, in order of arrival. The heap's locks nest inside.
    waiting: SpinLock<Vec<Info>>,
}

impl Queue {
    /// Without signals.
    pub(crate) fn new() -> Self {
        Self { set: AtomicU64::new(0), waiting: SpinLock::new("signals", Vec::new()) }
    }

    /// The signals that wait.
    pub(crate) fn set(&self) -> u64 {
        self.set.load(Ordering::Relaxed)
    }

    /// Adds a signal, unless it waits already and is no real-time signal.
    ///
    /// # Errors
    /// `EAGAIN` if it waits already and too many do.
    pub(crate) fn push(&self, info: Info) -> Result<(), Errno> {
        let mut waiting = self.waiting.lock();
        if self.set() & bit(info.signal) != 0 {
            if info.signal < FIRST_REAL_TIME {
                return Ok(());
            }
            if waiting.len() >= MAX_REPEATING {
                return Err(Errno::EAGAIN);
            }
        }
        waiting.push(info);
        self.set.fetch_or(bit(info.signal), Ordering::Relaxed);
        Ok(())
    }

    /// Forgets `signal` if it waits.
    pub(super) fn discard(&self, signal: u32) {
        let mut waiting = self.waiting.lock();
        waiting.retain(|info| info.signal != signal);
        self.set.fetch_and(!bit(signal), Ordering::Relaxed);
    }

    /// Takes the signal whose turn it is of those that are not in `blocked`.
    pub(crate) fn take(&self, blocked: u64) -> Option<Info> {
        if self.set() & !blocked == 0 {
            return None;
        }
        let mut waiting = self.waiting.lock();
        let takable = waiting.iter().enumerate().filter(|(_, info)| bit(info.signal) & !blocked != 0);
        let (at, _) = takable.min_by_key(|(at, info)| (info.turn(), *at))?;
        let info = waiting.remove(at);
        if waiting.iter().all(|other| other.signal != info.signal) {
            self.set.fetch_and(!bit(info.signal), Ordering::Relaxed);
        }
        Some(info)
    }
}
