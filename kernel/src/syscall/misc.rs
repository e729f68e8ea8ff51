//! Calls that fit nowhere else.

use kcore::membarrier::{Command, NotRegistered};
use powerpc64::exceptions::TrapFrame;

use super::{Result, scheduling};
use crate::errno::Errno;
use crate::machine::lazy_tlb;
use crate::process::limits::{Limit, Resource};
use crate::process::{current, random, user_memory};
use crate::task;

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

pub(super) fn umask(_: &mut TrapFrame) -> Result {
    // Permissions are recorded, not enforced; masks neither.
    Ok(0o022)
}

pub(super) fn getrandom(frame: &mut TrapFrame) -> Result {
    let [to, len, ..] = frame.syscall_args();
    let mut piece = [0; 64];
    let mut done = 0;
    while done < len {
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

pub(super) fn prctl(frame: &mut TrapFrame) -> Result {
    const PR_SET_NAME: u64 = 15;
    const PR_GET_NAME: u64 = 16;
    let [option, arg, ..] = frame.syscall_args();
    match option {
        PR_SET_NAME => {
            let name: [u8; 16] = user_memory::read(arg)?;
            let end = name.iter().position(|&byte| byte == 0).unwrap_or(15);
            task::current().set_name(&name[..end]);
            Ok(0)
        }
        PR_GET_NAME => user_memory::write(arg, task::current().name_bytes()).map(|()| 0),
        _ => Err(Errno::EINVAL),
    }
}
