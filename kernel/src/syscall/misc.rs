//! Calls that fit nowhere else.

use arch::addr::PAGE_SIZE;
use kcore::membarrier::{Command, NotRegistered};

use super::{Result, scheduling};
use crate::errno::Errno;
use crate::machine::lazy_tlb;
use crate::mm::user_memory::UserAddr;
use crate::process::limits::{Limit, Resource};
use crate::process::{current, random};
use crate::{shutdown, task};

pub(super) fn uname(to: UserAddr) -> Result<()> {
    /// Bytes of each field of `struct utsname`.
    const FIELD: usize = 65;
    // C libraries check the release: it is high enough for them.
    let fields = ["Linux", "(none)", "6.1.0-lazy-tlb", "lazy-tlb", "ppc64", "(none)"];
    let mut bytes = [0; FIELD * 6];
    for (slot, field) in bytes.chunks_exact_mut(FIELD).zip(fields) {
        slot[..field.len()].copy_from_slice(field.as_bytes());
    }
    to.write_bytes(&bytes)
}

pub(super) fn getrandom(to: UserAddr, len: u64, flags: u32) -> Result {
    const GRND_NONBLOCK: u32 = 1;
    const GRND_RANDOM: u32 = 2;
    const GRND_INSECURE: u32 = 4;
    let both = GRND_RANDOM | GRND_INSECURE;
    if flags & !(GRND_NONBLOCK | both) != 0 || flags & both == both {
        return Err(Errno::EINVAL);
    }
    // As for every transfer, no more than fits a result of 32 bits.
    let len = len.min(i32::MAX as u64);
    if !to.has_room(len as usize) {
        return Err(Errno::EFAULT);
    }
    let mut piece = [0; 64];
    let mut done = 0;
    while done < len {
        // Checked at each page, as in Linux; a short request is never cut.
        if done != 0 && done.is_multiple_of(PAGE_SIZE) && task::current().interrupted() {
            break;
        }
        let bytes = (len - done).min(piece.len() as u64);
        random::fill(&mut piece);
        match to.plus(done as usize).write_bytes(&piece[..bytes as usize]) {
            Err(errno) if done == 0 => return Err(errno),
            Err(_) => break,
            Ok(()) => done += bytes,
        }
    }
    Ok(done)
}

/// Ends the machine, even if programs run. The report of the counters, if wanted, comes first, as
/// at the end of init.
pub(super) fn reboot(magic: u32, magic2: u32, command: u32) -> Result {
    const MAGIC: u32 = 0xfee1_dead;
    /// Birthdays.
    const MAGIC2: [u32; 4] = [672_274_793, 85_072_278, 369_367_448, 537_993_216];
    const RESTART: u32 = 0x0123_4567;
    const HALT: u32 = 0xcdef_0123;
    const POWER_OFF: u32 = 0x4321_fedc;
    /// The effect of Ctrl-Alt-Del, on machines that have it.
    const CAD_ON: u32 = 0x89ab_cdef;
    const CAD_OFF: u32 = 0;
    if magic != MAGIC || !MAGIC2.contains(&magic2) {
        return Err(Errno::EINVAL);
    }
    match command {
        POWER_OFF => shutdown::finish(true, format_args!("powered off by {}", task::current().name())),
        HALT => shutdown::finish(true, format_args!("halted by {}", task::current().name())),
        // The firmware's restart is not used: QEMU ends, as after a power-off.
        RESTART => shutdown::finish(true, format_args!("restart by {}", task::current().name())),
        CAD_ON | CAD_OFF => Ok(0),
        _ => Err(Errno::EINVAL),
    }
}

pub(super) fn membarrier(command: u32, flags: u32) -> Result<u32> {
    let command = Command::from_call(command, flags).ok_or(Errno::EINVAL)?;
    lazy_tlb().membarrier(command).map_err(|NotRegistered| Errno::EPERM)
}

/// `struct rlimit`: soft, hard.
type Rlimit = [u64; 2];

fn to_limit([soft, hard]: Rlimit) -> Limit {
    Limit { soft, hard }
}

pub(super) fn getrlimit(resource: u32, to: UserAddr) -> Result<()> {
    let limit = current().limits.pair(Resource::from_number(resource)?);
    to.write([limit.soft, limit.hard])
}

pub(super) fn setrlimit(resource: u32, from: UserAddr) -> Result<()> {
    let new = to_limit(from.read()?);
    current().set_limit(Resource::from_number(resource)?, new).map(drop)
}

pub(super) fn prlimit64(tid: u32, resource: u32, new: UserAddr, old: UserAddr) -> Result<()> {
    let new = new.read_unless_null()?.map(to_limit);
    let task = scheduling::find(tid)?;
    let process = &task.user.as_ref().ok_or(Errno::ESRCH)?.process;
    let resource = Resource::from_number(resource)?;
    let before = match new {
        Some(new) => process.set_limit(resource, new)?,
        None => process.limits.pair(resource),
    };
    old.write_unless_null([before.soft, before.hard])
}
