//! The console as a terminal: descriptors 0 to 2 of init.
//!
//! Where what is typed comes from, and what becomes of it on the way, is in
//! [`input`]. There are no terminal attributes to set.

use crate::console::input;
use crate::errno::Errno;
use crate::fs::poll::{Events, PollHead};
use crate::fs::stat::Stat;
use crate::fs::{File, OpenFlags, device};
use crate::process::user_memory::{self, Cursor};

/// Bytes that go to the console or come from it in one piece.
const PIECE: usize = 512;

/// ioctl: the window's size.
const TIOCGWINSZ: u64 = 0x4008_7468;
/// ioctl: the foreground process group, get and set.
const TIOCGPGRP: u64 = 0x4004_7477;
const TIOCSPGRP: u64 = 0x8004_7476;

/// The console.
pub(crate) struct Tty;

impl File for Tty {
    fn read(&self, to: &mut Cursor<'_>, _: u64, flags: OpenFlags) -> Result<(), Errno> {
        let mut piece = [0; PIECE];
        let room = to.remaining().min(PIECE);
        if room == 0 {
            return Ok(());
        }
        loop {
            if input::is_ready()
                && let Some(count) = input::take(&mut piece[..room])
            {
                let typed = &mut piece[..count];
                typed.iter_mut().filter(|byte| **byte == b'\r').for_each(|byte| *byte = b'\n');
                return to.put(typed).map(drop);
            }
            if flags.contains(OpenFlags::NONBLOCK) {
                return Err(Errno::EAGAIN);
            }
            input::wait()?;
        }
    }

    fn write(&self, from: &mut Cursor<'_>, _: u64, _: OpenFlags) -> Result<(), Errno> {
        let mut piece = [0; PIECE];
        while from.remaining() > 0 {
            let taken = from.take(&mut piece)?;
            crate::console::write_bytes(&piece[..taken]);
        }
        Ok(())
    }

    fn events(&self) -> Events {
        if input::is_ready() {
            Events::IN | Events::RDNORM | Events::OUT | Events::WRNORM
        } else {
            Events::OUT | Events::WRNORM
        }
    }

    fn poll_head(&self) -> Option<&PollHead> {
        Some(input::poll_head())
    }

    fn stat(&self) -> Stat {
        device::stat(device::CONSOLE)
    }

    fn ioctl(&self, request: u64, arg: u64) -> Result<u64, Errno> {
        match request {
            // Rows, columns; pixels unknown.
            TIOCGWINSZ => user_memory::write(arg, [24_u16, 80, 0, 0]).map(|()| 0),
            TIOCGPGRP => user_memory::write(arg, input::foreground().ok_or(Errno::ENOTTY)?).map(|()| 0),
            TIOCSPGRP => {
                let group: u32 = user_memory::read(arg)?;
                // Only where the terminal is a program's at all.
                input::foreground().ok_or(Errno::ENOTTY)?;
                input::set_foreground(Some(group)).map(|()| 0)
            }
            _ => Err(Errno::ENOTTY),
        }
    }
}
