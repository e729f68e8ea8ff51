//! /dev: null and zero, and the names of all devices.

use alloc::sync::Arc;

use super::{tty, use_mm};
use crate::errno::Errno;
use crate::fs::inode::{Inode, Kind, Opener, root};
use crate::fs::stat::{S_IFCHR, Stat};
use crate::fs::{File, OpenFlags};
use crate::mm::user_memory::Cursor;

/// Linux's device numbers, major << 8 | minor.
const NULL: u64 = 0x103;
const ZERO: u64 = 0x105;
const TTY: u64 = 0x500;
/// The console, /dev/tty included.
pub(super) const CONSOLE: u64 = 0x501;
/// The misc major, with a minor that Linux does not use.
const USE_MM: u64 = 0xaff;
#[cfg(feature = "selftest")]
const KEEP_MM: u64 = 0xafe;

/// Makes /dev, and /dev/shm in it, for POSIX's shared memory.
pub(crate) fn init() -> Result<(), Errno> {
    let devices: [(&str, u64, Opener); 5] = [
        ("null", NULL, |_| Ok(Arc::new(Null))),
        ("zero", ZERO, |_| Ok(Arc::new(Zero))),
        ("tty", TTY, |_| Ok(tty::console_file())),
        ("console", CONSOLE, |_| Ok(tty::console_file())),
        ("use_mm", USE_MM, |_| Ok(Arc::new(use_mm::UseMm))),
    ];
    let directory = root().directory()?.get_or_make_directory("dev");
    for (name, number, open) in devices {
        directory.directory()?.add(name, Inode::new(Kind::Device(number, open), 0o666))?;
    }
    directory
        .directory()?
        .get_or_make_directory("shm")
        .attributes
        .change(|values, _| values.permissions = 0o1777);
    #[cfg(feature = "selftest")]
    {
        use crate::upcalls::tests::KeepMm;
        let open: Opener = |_| Ok(Arc::new(KeepMm));
        directory.directory()?.add("keep_mm", Inode::new(Kind::Device(KEEP_MM, open), 0o666))?;
    }
    Ok(())
}

/// The answer of the stat calls for an open character device.
pub(super) fn stat(device: u64) -> Stat {
    Stat::anonymous(S_IFCHR | 0o666, device)
}

/// /dev/null.
struct Null;

impl File for Null {
    fn read(&self, _: &mut Cursor<'_>, _: u64, _: OpenFlags) -> Result<(), Errno> {
        Ok(())
    }

    fn write(&self, from: &mut Cursor<'_>, _: u64, _: OpenFlags) -> Result<(), Errno> {
        from.skip(from.remaining());
        Ok(())
    }
}

/// /dev/zero.
struct Zero;

impl File for Zero {
    fn read(&self, to: &mut Cursor<'_>, _: u64, _: OpenFlags) -> Result<(), Errno> {
        to.put_zeros().map(drop)
    }

    fn write(&self, from: &mut Cursor<'_>, _: u64, _: OpenFlags) -> Result<(), Errno> {
        from.skip(from.remaining());
        Ok(())
    }
}
