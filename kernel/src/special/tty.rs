//! The console as a terminal: descriptors 0 to 2 of init.
//!
//! [`input`] takes typed bytes and applies the discipline. There are no terminal attributes to
//! set.

use alloc::sync::Arc;
use core::sync::atomic::Ordering;

use super::device;
use super::input::{self, Owner};
use crate::errno::Errno;
use crate::fs::poll::{Events, PollHead};
use crate::fs::stat::Stat;
use crate::fs::{File, OpenFlags};
use crate::mm::user_memory::{Cursor, UserAddr};
use crate::process::current;

/// Bytes that go to the console or come from it in one piece.
const PIECE: usize = 512;

/// ioctl: the window's size.
const TIOCGWINSZ: u64 = 0x4008_7468;
/// ioctl: the foreground process group, get and set.
const TIOCGPGRP: u64 = 0x4004_7477;
const TIOCSPGRP: u64 = 0x8004_7476;

/// The console.
pub(crate) struct Tty;

/// The console as a file.
pub(crate) fn console_file() -> Arc<dyn File> {
    Arc::new(Tty)
}

/// The current process, as the terminal sees it.
fn reader() -> Owner {
    Owner::Group(current().group.load(Ordering::Relaxed))
}

impl File for Tty {
    fn read(&self, to: &mut Cursor<'_>, _: u64, flags: OpenFlags) -> Result<(), Errno> {
        let mut piece = [0; PIECE];
        let room = to.remaining().min(PIECE);
        if room == 0 {
            return Ok(());
        }
        loop {
            if let Some(count) = input::take(reader(), &mut piece[..room]) {
                let typed = &mut piece[..count];
                typed.iter_mut().filter(|byte| **byte == b'\r').for_each(|byte| *byte = b'\n');
                return to.put(typed).map(drop);
            }
            // This may be the first question to the terminal, which starts its reader.
            if flags.contains(OpenFlags::NONBLOCK) && !input::is_ready(reader()) {
                return Err(Errno::EAGAIN);
            }
            input::wait(reader())?;
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
        if input::is_ready(reader()) {
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
            TIOCGWINSZ => UserAddr(arg).write([24_u16, 80, 0, 0]).map(|()| 0),
            TIOCGPGRP => match input::owner() {
                Owner::Group(group) => UserAddr(arg).write(group).map(|()| 0),
                Owner::Anybody | Owner::Kernel => Err(Errno::ENOTTY),
            },
            // Only the group in front may give the terminal away.
            TIOCSPGRP if input::owner() == reader() => {
                let group: u32 = UserAddr(arg).read()?;
                input::give(Owner::Group(group)).map(|()| 0)
            }
            _ => Err(Errno::ENOTTY),
        }
    }
}
