//! Calls that report usage: times, getrusage, sysinfo.

use arch::addr::PAGE_SIZE;
use arch::timer;

use super::Result;
use crate::clock::ticks;
use crate::errno::Errno;
use crate::memory::frame;
use crate::mm::user_memory::UserAddr;
use crate::process::current;
use crate::task::{self, Usage};

/// Words of `struct rusage`.
const RUSAGE_WORDS: usize = 18;

/// Linux's `struct rusage`. All time counts as the program's (see [`crate::process::cpu_time`]);
/// fields that are not counted are 0.
pub(super) fn to_rusage(used: &Usage) -> [u64; RUSAGE_WORDS] {
    /// The words that are set: seconds and microseconds, faults without input, switches.
    const UTIME: usize = 0;
    const MINFLT: usize = 8;
    const NVCSW: usize = 16;
    const NIVCSW: usize = 17;
    let us = timer::timebase().tb_to_ns(used.ran_tb) / 1000;
    let mut words = [0; RUSAGE_WORDS];
    words[UTIME] = us / 1_000_000;
    words[UTIME + 1] = us % 1_000_000;
    words[MINFLT] = used.faults;
    words[NVCSW] = used.voluntary_switches;
    words[NIVCSW] = used.involuntary_switches;
    words
}

pub(super) fn getrusage(which: i32, to: UserAddr) -> Result<()> {
    const RUSAGE_SELF: i32 = 0;
    const RUSAGE_CHILDREN: i32 = -1;
    const RUSAGE_THREAD: i32 = 1;
    let used = match which {
        RUSAGE_SELF => current().usage(),
        RUSAGE_CHILDREN => current().children_usage(),
        RUSAGE_THREAD => task::current().usage(),
        _ => return Err(Errno::EINVAL),
    };
    to.write(to_rusage(&used))
}

pub(super) fn times(to: UserAddr) -> Result {
    let (own, children) = (ticks(current().usage().ran_tb), ticks(current().children_usage().ran_tb));
    // `struct tms`: own user and system time, the children's.
    to.write_unless_null([own, 0, children, 0])?;
    Ok(ticks(timer::now_tb()))
}

pub(super) fn sysinfo(to: UserAddr) -> Result<()> {
    /// Words of `struct sysinfo`.
    const WORDS: usize = 14;
    const UPTIME: usize = 0;
    const TOTALRAM: usize = 4;
    const FREERAM: usize = 5;
    /// A half word, at the start of this one.
    const PROCS: usize = 10;
    /// A word of 32 bits.
    const MEM_UNIT: usize = 13;
    let mut threads = 0_u64;
    task::registry::for_each(|_| threads += 1);
    let mut words = [0; WORDS];
    words[UPTIME] = timer::timebase().tb_to_ns(timer::now_tb()) / 1_000_000_000;
    words[TOTALRAM] = frame::total_count() * PAGE_SIZE;
    words[FREERAM] = frame::free_count() * PAGE_SIZE;
    words[PROCS] = threads.min(u64::from(u16::MAX)) << 48;
    words[MEM_UNIT] = 1 << 32;
    to.write(words)
}
