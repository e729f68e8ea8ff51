//! Where a thread runs: affinity, yield.

use crate::sys::{Errno, nr, syscall};

/// Most CPUs that a set can name.
pub const MAX_CPUS: usize = 1024;

/// A set of CPUs, as the affinity calls pass it: one bit per CPU, in words of 64.
#[derive(Clone, PartialEq, Eq)]
pub struct CpuSet([u64; MAX_CPUS / 64]);

impl CpuSet {
    /// The set of `cpu` alone.
    ///
    /// # Panics
    /// If `cpu` is [`MAX_CPUS`] or more.
    #[must_use]
    pub fn only(cpu: usize) -> Self {
        let mut words = [0; MAX_CPUS / 64];
        words[cpu / 64] = 1 << (cpu % 64);
        Self(words)
    }

    /// How many CPUs are in it.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// The CPUs in it, in order.
    pub fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        (0..MAX_CPUS).filter(|cpu| self.0[cpu / 64] & 1 << (cpu % 64) != 0)
    }
}

impl FromIterator<usize> for CpuSet {
    /// # Panics
    /// If a CPU is [`MAX_CPUS`] or more.
    fn from_iter<I: IntoIterator<Item = usize>>(cpus: I) -> Self {
        let mut words = [0; MAX_CPUS / 64];
        cpus.into_iter().for_each(|cpu| words[cpu / 64] |= 1 << (cpu % 64));
        Self(words)
    }
}

/// The CPUs on which the calling thread may run.
///
/// # Errors
/// `EINVAL` if the kernel knows more CPUs than [`MAX_CPUS`].
pub fn affinity() -> Result<CpuSet, Errno> {
    let mut set = CpuSet([0; MAX_CPUS / 64]);
    let args = [0, size_of::<CpuSet>(), &raw mut set as usize, 0, 0, 0];
    // SAFETY: the kernel writes at most the size given.
    unsafe { syscall(nr::SCHED_GETAFFINITY, args) }?;
    Ok(set)
}

/// Moves the calling thread to the CPUs of `set`; it runs there on return.
///
/// # Errors
/// `EINVAL` if no CPU of the set is online.
pub fn set_affinity(set: &CpuSet) -> Result<(), Errno> {
    let args = [0, size_of::<CpuSet>(), set as *const CpuSet as usize, 0, 0, 0];
    // SAFETY: the kernel only reads the set.
    unsafe { syscall(nr::SCHED_SETAFFINITY, args) }.map(drop)
}

/// The CPU that the caller runs on.
///
/// # Errors
/// `ENOSYS` where the kernel has no such call.
pub fn current_cpu() -> Result<usize, Errno> {
    let mut cpu = 0u32;
    // SAFETY: the kernel writes one number, which is ours.
    unsafe { syscall(nr::GETCPU, [&raw mut cpu as usize, 0, 0, 0, 0, 0]) }?;
    Ok(cpu as usize)
}

/// Lets another thread run.
pub fn yield_now() {
    // SAFETY: touches no memory. It cannot fail.
    let _ = unsafe { syscall(nr::SCHED_YIELD, [0; 6]) };
}

/// Marks the caller as spinning: the processor prefers other threads of its
/// core, and an emulator other CPUs.
pub fn relax() {
    // SAFETY: moves of registers to themselves, which set the thread's priority.
    unsafe { core::arch::asm!("or 1, 1, 1", "or 2, 2, 2", options(nomem, nostack)) };
}
