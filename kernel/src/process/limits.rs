//! Resource limits: how much of a resource a process may use (getrlimit, setrlimit, prlimit).
//!
//! They belong to the process: its threads share them, fork copies them, exec keeps them. A limit
//! takes effect where [`Limits::get`] is called; docs/linux-abi.md lists those that do.

use core::sync::atomic::{AtomicU64, Ordering};

use super::Process;
use crate::errno::Errno;
use crate::mm;
use crate::sync::SpinLock;
use crate::task;

/// No limit (RLIM_INFINITY).
pub(crate) const INFINITY: u64 = u64::MAX;
/// The most that [`Resource::Nofile`] can be: Linux's fs.nr_open.
pub(crate) const NR_OPEN: u64 = 1 << 20;

macro_rules! resources {
    ($($(#[$doc:meta])+ $name:ident,)+) => {
        /// The limited resources, by Linux's numbers (asm-generic/resource.h).
        #[derive(Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Resource {
            $($(#[$doc])+ $name,)+
        }

        impl Resource {
            /// In the order of their numbers.
            const ALL: [Resource; 16] = [$(Resource::$name),+];
        }
    };
}

resources! {
    /// Seconds of CPU time.
    Cpu,
    /// Bytes of a file that is written.
    Fsize,
    /// Bytes of data and heap.
    Data,
    /// Bytes of the first thread's stack.
    Stack,
    /// Bytes of a core dump.
    Core,
    /// Bytes of memory in use.
    Rss,
    /// Threads of all the user's processes.
    Nproc,
    /// One more than the largest descriptor.
    Nofile,
    /// Bytes of locked memory.
    Memlock,
    /// Bytes of address space.
    As,
    /// Record locks.
    Locks,
    /// Signals that wait.
    Sigpending,
    /// Bytes in message queues.
    Msgqueue,
    /// How far nice may be lowered.
    Nice,
    /// The highest real-time priority.
    Rtprio,
    /// Microseconds that a real-time thread runs without a wait.
    Rttime,
}

impl Resource {
    /// By number.
    ///
    /// # Errors
    /// `EINVAL` if there is none.
    pub(crate) fn from_number(number: u32) -> Result<Self, Errno> {
        Self::ALL.get(number as usize).copied().ok_or(Errno::EINVAL)
    }
}

/// One limit. The soft one takes effect; a program may raise it to the hard one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limit {
    /// The one that takes effect.
    pub(crate) soft: u64,
    /// The bound for the soft one. The only user, root, may raise it.
    pub(crate) hard: u64,
}

/// The limits of a process.
pub(crate) struct Limits {
    /// Read without the lock, since a soft limit is complete in its word.
    soft: [AtomicU64; Resource::ALL.len()],
    hard: [AtomicU64; Resource::ALL.len()],
    /// Held over changes and over looks at both halves of a limit. Innermost.
    changes: SpinLock<()>,
}

impl Limits {
    /// The limits of the first process, which are Linux's.
    pub(super) fn of_init() -> Self {
        let limits = Self::with(|_| Limit { soft: INFINITY, hard: INFINITY });
        let start = [
            (Resource::Stack, mm::STACK_MAX, INFINITY),
            (Resource::Core, 0, INFINITY),
            (Resource::Nofile, 1024, 4096),
            (Resource::Memlock, 8 << 20, 8 << 20),
            (Resource::Msgqueue, 819_200, 819_200),
            (Resource::Nice, 0, 0),
            (Resource::Rtprio, 0, 0),
        ];
        start.into_iter().for_each(|(resource, soft, hard)| limits.store(resource, Limit { soft, hard }));
        limits
    }

    /// A copy, for a child.
    pub(super) fn copy(&self) -> Self {
        let _changes = self.changes.lock();
        Self::with(|resource| self.both(resource))
    }

    fn with(limit: impl Fn(Resource) -> Limit) -> Self {
        Self {
            soft: Resource::ALL.map(|resource| AtomicU64::new(limit(resource).soft)),
            hard: Resource::ALL.map(|resource| AtomicU64::new(limit(resource).hard)),
            changes: SpinLock::new("limits", ()),
        }
    }

    fn store(&self, resource: Resource, limit: Limit) {
        self.soft[resource as usize].store(limit.soft, Ordering::Relaxed);
        self.hard[resource as usize].store(limit.hard, Ordering::Relaxed);
    }

    /// The soft limit: the one that takes effect. Any context.
    #[inline]
    pub(crate) fn get(&self, resource: Resource) -> u64 {
        // Relaxed: during a change the old or the new limit counts.
        self.soft[resource as usize].load(Ordering::Relaxed)
    }

    /// Both limits.
    pub(crate) fn pair(&self, resource: Resource) -> Limit {
        let _changes = self.changes.lock();
        self.both(resource)
    }

    fn both(&self, resource: Resource) -> Limit {
        let hard = self.hard[resource as usize].load(Ordering::Relaxed);
        Limit { soft: self.get(resource), hard }
    }

    /// Replaces both, and returns the old ones.
    ///
    /// # Errors
    /// `EINVAL` if the soft one is above the hard one, `EPERM` for more descriptors than
    /// [`NR_OPEN`].
    pub(crate) fn set(&self, resource: Resource, new: Limit) -> Result<Limit, Errno> {
        if new.soft > new.hard {
            return Err(Errno::EINVAL);
        }
        if resource == Resource::Nofile && new.hard > NR_OPEN {
            return Err(Errno::EPERM);
        }
        let _changes = self.changes.lock();
        let old = self.both(resource);
        self.store(resource, new);
        Ok(old)
    }
}

/// The soft limit of the running task's process; none for a kernel thread.
#[inline]
pub(crate) fn of_current(resource: Resource) -> u64 {
    task::current().user.as_ref().map_or(INFINITY, |thread| thread.process.limits.get(resource))
}

impl Process {
    /// Whether the user may have one more thread: [`Resource::Nproc`] counts those of all
    /// processes, since there is one user. Linux exempts root from it; here an exempt root would
    /// leave it without effect.
    pub(super) fn may_start_thread(&self) -> bool {
        let limit = self.limits.get(Resource::Nproc);
        if limit == INFINITY {
            return true;
        }
        let mut threads = 0;
        task::registry::for_each(|task| threads += u64::from(task.user.is_some()));
        threads < limit
    }
}
