//! prctl: settings of a thread or process by itself.

use core::sync::atomic::Ordering;

use super::Result;
use crate::errno::Errno;
use crate::mm::user_memory::UserAddr;
use crate::process::{current, current_thread, signal};
use crate::task;

const PR_SET_PDEATHSIG: u32 = 1;
const PR_GET_PDEATHSIG: u32 = 2;
const PR_GET_DUMPABLE: u32 = 3;
const PR_SET_DUMPABLE: u32 = 4;
const PR_SET_NAME: u32 = 15;
const PR_GET_NAME: u32 = 16;

pub(super) fn prctl(option: u32, argument: u64) -> Result {
    let (process, thread, at) = (current(), current_thread(), UserAddr(argument));
    match option {
        PR_SET_PDEATHSIG if argument > u64::from(signal::LAST) => return Err(Errno::EINVAL),
        PR_SET_PDEATHSIG => thread.parent_death_signal.store(argument as u32, Ordering::Relaxed),
        PR_GET_PDEATHSIG => at.write(thread.parent_death_signal.load(Ordering::Relaxed))?,
        PR_GET_DUMPABLE => return Ok(process.dumpable.load(Ordering::Relaxed).into()),
        PR_SET_DUMPABLE if argument > 1 => return Err(Errno::EINVAL),
        PR_SET_DUMPABLE => process.dumpable.store(argument == 1, Ordering::Relaxed),
        PR_SET_NAME => {
            // Longer names are cut.
            let mut name = [0; 15];
            let len = at.read_prefix(&mut name)?;
            task::current().set_name(&name[..len]);
        }
        PR_GET_NAME => at.write(task::current().name_bytes())?,
        _ => return Err(Errno::EINVAL),
    }
    Ok(0)
}
