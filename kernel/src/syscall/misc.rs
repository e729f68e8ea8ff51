//! Calls that fit nowhere else.

use arch::addr::PAGE_SIZE;
use arch::exceptions::TrapFrame;
use arch::uaccess::is_user_range;
use kcore::membarrier::{Command, NotRegistered};

use super::{Result, scheduling};
use crate::errno::Errno;
use crate::machine::lazy_tlb;
use crate::process::limits::{Limit, Resource};
use crate::process::{current, random, user_memory};
use crate::{shutdown, task};

pub(super) fn uname(frame: &mut TrapFrame) -> Result {
    /// Bytes of each field of `struct utsname`.
    const FIELD: usize = 65;
    let [to, ..] = frame.syscall_args();
    // C libraries look at the release: what they need at least is in here.
    let fields = ["Linux", "(none)", "6.1.0-lazy-tlb", "lazy-tlb", "ppc64", "(none)"];
    let mut bytes = [0; FIELD * 6];
    for (slot, field) in bytes.chunks_exact_mut(FIELD).zip(fields) {
        slot[..field.len()].copy_from_slice(field.as_bytes());
    }
    user_memory::write_bytes(to, &bytes).map(|()| 0)
}

pub(super) fn getrandom(frame: &mut TrapFrame) -> Result {
    const GRND_NONBLOCK: u32 = 1;
    const GRND_RANDOM: u32 = 2;
    const GRND_INSECURE: u32 = 4;
    let [to, len, flags, ..] = frame.syscall_args();
    let flags = flags as u32;
    let both = GRND_RANDOM | GRND_INSECURE;
    if flags & !(GRND_NONBLOCK | both) != 0 || flags & both == both {
        return Err(Errno::EINVAL);
    }
    // As every transfer: no more than fits a result of 32 bits.
    let len = len.min(i32::MAX as u64);
    if !is_user_range(to, len as usize) {
        return Err(Errno::EFAULT);
    }
    let mut piece = [0; 64];
    let mut done = 0;
    while done < len {
        // Each page, as Linux; a short request is never cut.
        if done != 0 && done.is_multiple_of(PAGE_SIZE) && task::current().interrupted() {
            break;
        }
        let bytes = (len - done).min(piece.len() as u64);
        random::fill(&mut piece);
        match user_memory::write_bytes(to.wrapping_add(done), &piece[..bytes as usize]) {
            Err(errno) if done == 0 => return Err(errno),
            Err(_) => break,
            Ok(()) => done += bytes,
        }
    }
    Ok(done)
}

/// Ends the machine, whatever runs. The report of the counters comes first, if it is
/// wanted, as at the end of init.
pub(super) fn reboot(frame: &mut TrapFrame) -> Result {
    const MAGIC: u32 = 0xfee1_dead;
    /// Birthdays.
    const MAGIC2: [u32; 4] = [672_274_793, 85_072_278, 369_367_448, 537_993_216];
    const RESTART: u32 = 0x0123_4567;
    const HALT: u32 = 0xcdef_0123;
    const POWER_OFF: u32 = 0x4321_fedc;
    /// What Ctrl-Alt-Del does, on machines that have it.
    const CAD_ON: u32 = 0x89ab_cdef;
    const CAD_OFF: u32 = 0;
    let [magic, magic2, command, ..] = frame.syscall_args();
    if magic as u32 != MAGIC || !MAGIC2.contains(&(magic2 as u32)) {
        return Err(Errno::EINVAL);
    }
    match command as u32 {
        POWER_OFF => shutdown::finish(true, format_args!("powered off by {}", task::current().name())),
        HALT => shutdown::finish(true, format_args!("halted by {}", task::current().name())),
        // The firmware's own way to start anew is not used: QEMU ends, as after a power-off.
        RESTART => shutdown::finish(true, format_args!("restart by {}", task::current().name())),
        CAD_ON | CAD_OFF => Ok(0),
        _ => Err(Errno::EINVAL),
    }
}

pub(super) fn membarrier(frame: &mut TrapFrame) -> Result {
    let [command, flags, ..] = frame.syscall_args();
    let command = Command::from_call(command as u32, flags as u32).ok_or(Errno::EINVAL)?;
    lazy_tlb().membarrier(command).map(u64::from).map_err(|NotRegistered| Errno::EPERM)
}

/// `struct rlimit`: soft, hard.
type Rlimit = [u64; 2];

fn to_limit([soft, hard]: Rlimit) -> Limit {
    Limit { soft, hard }
}

pub(super) fn getrlimit(frame: &mut TrapFrame) -> Result {
    let [resource, to, ..] = frame.syscall_args();
    let limit = current().limits.pair(Resource::from_number(resource as u32)?);
    user_memory::write(to, [limit.soft, limit.hard]).map(|()| 0)
}

pub(super) fn setrlimit(frame: &mut TrapFrame) -> Result {
    let [resource, from, ..] = frame.syscall_args();
    let new = to_limit(user_memory::read(from)?);
    current().set_limit(Resource::from_number(resource as u32)?, new).map(|_| 0)
}

pub(super) fn prlimit64(frame: &mut TrapFrame) -> Result {
    let [tid, resource, new, old, ..] = frame.syscall_args();
    let new = if new == 0 { None } else { Some(to_limit(user_memory::read(new)?)) };
    let task = scheduling::find(tid)?;
    let process = &task.user.as_ref().ok_or(Errno::ESRCH)?.process;
    let resource = Resource::from_number(resource as u32)?;
    let before = match new {
        Some(new) => process.set_limit(resource, new)?,
        None => process.limits.pair(resource),
    };
    user_memory::write_unless_null(old, [before.soft, before.hard]).map(|()| 0)
}
