//! What is typed: from the terminal's interrupt to whoever reads.
//!
//! ```text
//! interrupt ──> kernel thread ──> discipline ──> pieces ──> tty::read, monitor
//!                     └─ Ctrl-C, Ctrl-\ ──> signal to the foreground group
//! ```
//! The thread alone takes bytes from the hypervisor. It starts with the first who
//! wants to read, and sleeps until the interrupt says that there is something:
//! waiting for input costs nothing. Only a platform without that interrupt is asked
//! from time to time.
//!
//! Without a monitor the discipline is none: bytes arrive as they were sent, for
//! programs that read a pipe. With one, a program in the foreground gets lines
//! ([`Cooked`]), and the monitor, when no program is, gets the bare keys.

use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, Ordering};

use kcore::cpu::CpuId;
use powerpc64::{console, timer};
use terminal::cooked::Cooked;

use crate::errno::Errno;
use crate::fs::poll::PollHead;
use crate::process::signal::{self, Info};
use crate::sync::{SpinLock, WaitQueue};
use crate::task::{self, kthread};

/// Bytes that wait to be read at most, more or less. Bare bytes beyond that stay in
/// the hypervisor, which holds the sender up; of a line that nobody reads, nobody
/// will miss them.
const MAX_WAITING: usize = 4096;
/// How often a terminal without interrupt is asked, in microseconds: a person types
/// slower.
const POLL_US: u64 = 20_000;

/// What a control character does to a program in the foreground.
const CTRL_C: u8 = 0x03;
const CTRL_BACKSLASH: u8 = 0x1c;

/// Whose the terminal is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owner {
    /// Whoever reads: nobody sits at it.
    Anybody,
    /// The monitor.
    Kernel,
    /// A process group: the foreground.
    Group(u32),
}

struct Input {
    /// What can be read, oldest first: lines, or bytes as they came. An empty piece
    /// is the end of the file, once.
    pieces: VecDeque<Vec<u8>>,
    /// Bytes in `pieces`.
    waiting: usize,
    /// Who may read them.
    owner: Owner,
    /// The line that is being typed for a process group.
    line: Cooked,
}

/// Guards what was typed. The heap's locks nest inside.
static INPUT: SpinLock<Input> = SpinLock::new(
    "console input",
    Input { pieces: VecDeque::new(), waiting: 0, owner: Owner::Anybody, line: Cooked::new() },
);
/// Those who wait for a piece.
static READERS: WaitQueue = WaitQueue::new();
/// Those who poll for one.
static POLLERS: PollHead = PollHead::new();

/// The hypervisor may have bytes. Set by the interrupt, and by readers that make
/// room.
static LOOK: AtomicBool = AtomicBool::new(true);
/// The thread, until `LOOK`.
static THREAD: WaitQueue = WaitQueue::new();

/// The terminal's interrupt: there is something to read. Interrupts off.
pub(crate) fn interrupt() {
    look();
}

/// Has the thread look. Any context.
fn look() {
    // The wake-up orders it before the look at the waiters.
    LOOK.store(true, Ordering::Relaxed);
    THREAD.wake_one();
}

/// Starts the thread, once.
///
/// # Errors
/// `ENOMEM` if there is no memory for its stack.
fn start() -> Result<(), Errno> {
    static STARTED: AtomicBool = AtomicBool::new(false);
    if STARTED.load(Ordering::Relaxed) || STARTED.swap(true, Ordering::Relaxed) {
        return Ok(());
    }
    kthread::try_spawn("console", serve).map(drop).map_err(|_| {
        STARTED.store(false, Ordering::Relaxed);
        Errno::ENOMEM
    })
}

/// The thread's life. What was typed before the interrupt was on raised none, but
/// `LOOK` starts as true.
fn serve() {
    let boot_server = task::server_of(CpuId::BOOT);
    let has_interrupt = console::enable_interrupt(boot_server).is_some();
    if !has_interrupt {
        crate::println!("console: the terminal has no interrupt and is asked every {} ms", POLL_US / 1000);
    }
    let wanted = || LOOK.swap(false, Ordering::Relaxed);
    loop {
        if has_interrupt {
            THREAD.wait_until(wanted);
        } else {
            let deadline_tb = timer::now_tb() + POLL_US * timer::ticks_per_us();
            THREAD.wait_until_deadline(wanted, deadline_tb);
        }
        take_all();
    }
}

/// Takes what the hypervisor has, until that is nothing (then the next byte
/// interrupts) or nobody reads what is there.
fn take_all() {
    let mut bare = Vec::new();
    while bare.len() < MAX_WAITING {
        let (owner, is_full) = {
            let input = INPUT.lock();
            (input.owner, input.waiting >= MAX_WAITING)
        };
        match owner {
            Owner::Group(group) => {
                let Some(byte) = console::read_byte() else { break };
                take_for(group, byte);
            }
            Owner::Anybody | Owner::Kernel if is_full => break,
            Owner::Anybody | Owner::Kernel => {
                let Some(byte) = console::read_byte() else { break };
                bare.push(byte);
            }
        }
    }
    if !bare.is_empty() {
        INPUT.lock().add(bare);
    }
    READERS.wake_all();
    POLLERS.notify();
}

/// A byte for a program in the foreground.
fn take_for(group: u32, byte: u8) {
    let (signal, name) = match byte {
        CTRL_C => (signal::SIGINT, "^C"),
        CTRL_BACKSLASH => (signal::SIGQUIT, "^\\"),
        byte => return discipline(byte),
    };
    INPUT.lock().line.take();
    super::write(format_args!("{name}\n"));
    signal::send_to_group(group, Info::of_kernel(signal));
}

fn discipline(byte: u8) {
    let mut echo = String::new();
    let mut input = INPUT.lock();
    if let Some(piece) = input.line.push(byte, &mut echo)
        && input.waiting < MAX_WAITING
    {
        input.add(piece);
    }
    drop(input);
    super::write_bytes(echo.as_bytes());
}

impl Input {
    /// Whether there is something to read, and `reader` may.
    fn has_for(&self, reader: Owner) -> bool {
        !self.pieces.is_empty() && (self.owner == Owner::Anybody || self.owner == reader)
    }

    fn add(&mut self, piece: Vec<u8>) {
        self.waiting += piece.len();
        self.pieces.push_back(piece);
    }
}

/// Whether [`take`] would give `reader` something. Starts the thread if need be: who
/// asks wants to know.
pub(crate) fn is_ready(reader: Owner) -> bool {
    // Without memory there is nothing to read.
    start().is_ok() && INPUT.lock().has_for(reader)
}

/// Where a change of [`is_ready`] is told.
pub(crate) fn poll_head() -> &'static PollHead {
    &POLLERS
}

/// Moves what was typed to `to`, of one line at most. Returns how many bytes; 0 is
/// the end of the file; none if there is nothing for `reader` now.
pub(crate) fn take(reader: Owner, to: &mut [u8]) -> Option<usize> {
    let mut input = INPUT.lock();
    if !input.has_for(reader) {
        return None;
    }
    let piece = input.pieces.front_mut()?;
    let line = piece.iter().position(|&byte| byte == b'\n' || byte == b'\r').map_or(piece.len(), |at| at + 1);
    let count = line.min(to.len());
    to[..count].copy_from_slice(&piece[..count]);
    piece.drain(..count);
    if piece.is_empty() {
        input.pieces.pop_front();
    }
    let was_full = input.waiting >= MAX_WAITING;
    input.waiting -= count;
    let has_room = input.waiting < MAX_WAITING;
    drop(input);
    if was_full && has_room {
        look();
    }
    Some(count)
}

/// Waits until there is something for `reader` to take: a program in the background
/// waits until it is in front. A signal ends the wait as it does that of a system
/// call. Interrupts and preemption on.
pub(crate) fn wait(reader: Owner) -> Result<(), Errno> {
    start()?;
    signal::wait(&READERS, || INPUT.lock().has_for(reader))
}

/// Gives the terminal to `owner`. The start of a line that was typed for a program
/// goes to whoever reads next.
///
/// # Errors
/// `ENOMEM` if there is no memory for the thread that reads.
pub(crate) fn give(owner: Owner) -> Result<(), Errno> {
    start()?;
    let mut input = INPUT.lock();
    input.owner = owner;
    let rest = input.line.take();
    if !rest.is_empty() {
        input.add(rest);
    }
    drop(input);
    // There may be bytes that were too many for the one before. The thread wakes
    // all readers afterwards.
    look();
    Ok(())
}

/// Whose the terminal is.
pub(crate) fn owner() -> Owner {
    INPUT.lock().owner
}
