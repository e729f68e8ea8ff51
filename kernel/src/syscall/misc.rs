//! Calls that fit nowhere else.

use kcore::membarrier::{Command, NotRegistered};
use powerpc64::exceptions::TrapFrame;

use super::Result;
use crate::errno::Errno;
use crate::fs::table::MAX_FILES;
use crate::machine::lazy_tlb;
use crate::mm;
use crate::process::{random, user_memory};
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

/// The limit of `resource` as soft and hard: none but for stack and descriptors.
fn limit(resource: u64) -> Result<[u64; 2]> {
    const STACK: u64 = 3;
    const NOFILE: u64 = 7;
    const RESOURCES: u64 = 16;
    match resource {
        STACK => Ok([mm::STACK_MAX, u64::MAX]),
        NOFILE => Ok([MAX_FILES as u64; 2]),
        0..RESOURCES => Ok([u64::MAX; 2]),
        _ => Err(Errno::EINVAL),
    }
}

pub(super) fn getrlimit(frame: &mut TrapFrame) -> Result {
    let [resource, to, ..] = frame.syscall_args();
    user_memory::write(to, limit(resource)?).map(|()| 0)
}

pub(super) fn prlimit64(frame: &mut TrapFrame) -> Result {
    let [_, resource, new, old, ..] = frame.syscall_args();
    let now = limit(resource)?;
    if new != 0 {
        let [soft, hard]: [u64; 2] = user_memory::read(new)?;
        if soft > hard {
            return Err(Errno::EINVAL);
        }
        if soft > now[1] {
            return Err(Errno::EPERM);
        }
        // Lower limits are taken note of by nobody.
    }
    user_memory::write_unless_null(old, now).map(|()| 0)
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
