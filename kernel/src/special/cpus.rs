//! /sys/devices/system/cpu: the lists of CPUs, and the switch of each.
//!
//! Writing 0 to `cpuN/online` takes that CPU offline, 1 brings it back, as in Linux.

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;

use kcore::cpu::{CpuId, CpuSet};

use super::proc::{self, text};
use crate::errno::Errno;
use crate::fs::inode::{Inode, Kind, root};
use crate::fs::{File, OpenFlags};
use crate::machine::lazy_tlb;
use crate::mm::user_memory::Cursor;
use crate::task::{self, Refused};

/// Makes the directory.
pub(crate) fn init() -> Result<(), Errno> {
    let mut directory = root().directory()?.get_or_make_directory("sys");
    for name in ["devices", "system", "cpu"] {
        directory = directory.directory()?.get_or_make_directory(name);
    }
    let directory = directory.directory()?;
    let online = Kind::generated(|_| text(ranges(&lazy_tlb().online())));
    directory.add("online", Inode::new(online, 0o444))?;
    for name in ["possible", "present"] {
        let all = Kind::generated(|_| text(ranges(&CpuSet::first(lazy_tlb().nr_cpus()))));
        directory.add(name, Inode::new(all, 0o444))?;
    }
    for cpu in (0..lazy_tlb().nr_cpus()).map(CpuId::new) {
        let own = directory.get_or_make_directory(&format!("cpu{}", cpu.index()));
        let switch = Kind::generated(move |_| Ok(Arc::new(Switch(cpu))));
        own.directory()?.add("online", Inode::new(switch, 0o644))?;
    }
    Ok(())
}

/// Linux's list format: `0,2-3`.
pub(super) fn ranges(cpus: &CpuSet) -> String {
    terminal::ranges::list(cpus.iter().map(CpuId::index), 2) + "\n"
}

/// `cpuN/online`.
struct Switch(CpuId);

impl File for Switch {
    fn read(&self, to: &mut Cursor<'_>, at: u64, _: OpenFlags) -> Result<(), Errno> {
        let state = if task::is_online(self.0) { "1\n" } else { "0\n" };
        proc::put_from(state.as_bytes(), to, at)
    }

    /// The first byte counts, as for Linux's flags: 0 or 1, n or y.
    fn write(&self, from: &mut Cursor<'_>, _: u64, _: OpenFlags) -> Result<(), Errno> {
        let Some(piece) = from.next_piece() else { return Ok(()) };
        // Reads the byte without moving on: an error after bytes have moved is a short write.
        match piece.base.read::<u8>()? {
            b'0' | b'n' | b'N' => task::offline(self.0),
            b'1' | b'y' | b'Y' => task::online(self.0),
            _ => return Err(Errno::EINVAL),
        }
        .map_err(errno)?;
        from.skip(from.remaining());
        Ok(())
    }

    fn is_seekable(&self) -> bool {
        true
    }
}

fn errno(refused: Refused) -> Errno {
    match refused {
        Refused::NoSuchCpu => Errno::ENODEV,
        Refused::BootCpu | Refused::Busy => Errno::EBUSY,
        Refused::Firmware | Refused::Lost => Errno::EIO,
    }
}
