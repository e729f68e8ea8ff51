//! prctl: what a thread or process may say of itself.

use core::sync::atomic::Ordering;

use arch::exceptions::TrapFrame;
use arch::uaccess::{self, BadString};

use super::Result;
use crate::errno::Errno;
use crate::process::{current, current_thread, signal, user_memory};
use crate::task;

const PR_SET_PDEATHSIG: u32 = 1;
const PR_GET_PDEATHSIG: u32 = 2;
const PR_GET_DUMPABLE: u32 = 3;
const PR_SET_DUMPABLE: u32 = 4;
const PR_SET_NAME: u32 = 15;
const PR_GET_NAME: u32 = 16;

pub(super) fn prctl(frame: &mut TrapFrame) -> Result {
    let [option, arg, ..] = frame.syscall_args();
    let (process, thread) = (current(), current_thread());
    match option as u32 {
        PR_SET_PDEATHSIG if arg > u64::from(signal::LAST) => Err(Errno::EINVAL),
        PR_SET_PDEATHSIG => {
            thread.parent_death_signal.store(arg as u32, Ordering::Relaxed);
            Ok(0)
        }
        PR_GET_PDEATHSIG => {
            user_memory::write(arg, thread.parent_death_signal.load(Ordering::Relaxed)).map(|()| 0)
        }
        PR_GET_DUMPABLE => Ok(u64::from(process.dumpable.load(Ordering::Relaxed))),
        PR_SET_DUMPABLE if arg > 1 => Err(Errno::EINVAL),
        PR_SET_DUMPABLE => {
            process.dumpable.store(arg == 1, Ordering::Relaxed);
            Ok(0)
        }
        PR_SET_NAME => set_name(arg),
        PR_GET_NAME => user_memory::write(arg, task::current().name_bytes()).map(|()| 0),
        _ => Err(Errno::EINVAL),
    }
}

/// Longer names are cut.
fn set_name(from: u64) -> Result {
    let mut name = [0; 15];
    let len = match uaccess::strncpy_from_user(&mut name, from) {
        Ok(len) => len,
        Err(BadString::TooLong) => name.len(),
        Err(BadString::Address) => return Err(Errno::EFAULT),
    };
    task::current().set_name(&name[..len]);
    Ok(0)
}
