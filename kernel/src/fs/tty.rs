//! The console as a terminal: descriptors 0 to 2 of init.
//!
//! No line discipline: bytes come as they are typed, carriage return as newline.

use powerpc64::timer;

use crate::errno::Errno;
use crate::fs::stat::Stat;
use crate::fs::{File, OpenFlags, device};
use crate::process::signal;
use crate::process::user_memory::{self, Cursor};
use crate::sync::WaitQueue;

/// Bytes that go to the console in one piece.
const PIECE: usize = 512;
/// ioctl: the window's size.
const TIOCGWINSZ: u64 = 0x4008_7468;

/// The console.
pub(crate) struct Tty;

impl File for Tty {
    fn read(&self, to: &mut Cursor<'_>, _: u64, flags: OpenFlags) -> Result<(), Errno> {
        while to.remaining() > 0 {
            match powerpc64::console::read_byte() {
                Some(byte) => {
                    let byte = if byte == b'\r' { b'\n' } else { byte };
                    to.put(&[byte])?;
                    if byte == b'\n' {
                        break;
                    }
                }
                None if to.done() > 0 => break,
                None if flags.contains(OpenFlags::NONBLOCK) => return Err(Errno::EAGAIN),
                None => wait_for_input()?,
            }
        }
        Ok(())
    }

    fn write(&self, from: &mut Cursor<'_>, _: u64, _: OpenFlags) -> Result<(), Errno> {
        let mut piece = [0; PIECE];
        while from.remaining() > 0 {
            let taken = from.take(&mut piece)?;
            crate::console::write_bytes(&piece[..taken]);
        }
        Ok(())
    }

    fn stat(&self) -> Stat {
        device::stat(device::CONSOLE)
    }

    fn ioctl(&self, request: u64, arg: u64) -> Result<u64, Errno> {
        match request {
            // Rows, columns; pixels unknown.
            TIOCGWINSZ => user_memory::write(arg, [24_u16, 80, 0, 0]).map(|()| 0),
            _ => Err(Errno::ENOTTY),
        }
    }
}

/// Sleeps until it is worth asking the hypervisor again. The virtual terminal's
/// interrupt is not wired up: a person types slower than this looks.
fn wait_for_input() -> Result<(), Errno> {
    const INTERVAL_US: u64 = 20_000;
    let nobody = WaitQueue::new();
    let deadline_tb = timer::now_tb() + INTERVAL_US * timer::ticks_per_us();
    signal::wait_deadline(&nobody, deadline_tb, || false).map(drop)
}
