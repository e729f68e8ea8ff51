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

use arch::{console, timer};
use kcore::cpu::CpuId;
use terminal::cooked::Cooked;

use crate::errno::Errno;
use crate::fs::poll::PollHead;
use crate::process::Process;
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
    /// What can be read, oldest first. An empty piece is the end of the file, once,
    /// and parts what comes before from what comes after.
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
    loop {
        let mut input = INPUT.lock();
        if input.must_wait() {
            break;
        }
        let Some(byte) = console::read_byte() else { break };
        let effect = input.put(byte);
        drop(input);
        effect.happen();
    }
    READERS.wake_all();
    POLLERS.notify();
}

/// What a byte does beside being there to be read; not under the lock.
#[derive(Default)]
struct Effect {
    echo: String,
    /// To whom, and which.
    signal: Option<(u32, u32)>,
}

impl Effect {
    fn happen(self) {
        if !self.echo.is_empty() {
            crate::console::write_bytes(self.echo.as_bytes());
        }
        if let Some((group, signal)) = self.signal {
            let in_group = |process: &Process| process.group.load(Ordering::Relaxed) == group;
            signal::send_to_all(in_group, Some(Info::of_kernel(signal)));
        }
    }
}

impl Input {
    /// Whether `reader` has something to read.
    fn has_for(&self, reader: Owner) -> bool {
        !self.pieces.is_empty() && (self.owner == Owner::Anybody || self.owner == reader)
    }

    fn is_full(&self) -> bool {
        self.waiting >= MAX_WAITING
    }

    /// Whether what is typed has to wait where it is. Never behind the back of a
    /// program that Ctrl-C is to reach.
    fn must_wait(&self) -> bool {
        self.is_full() && !matches!(self.owner, Owner::Group(_))
    }

    /// Takes a byte.
    fn put(&mut self, byte: u8) -> Effect {
        match (self.owner, byte) {
            (Owner::Group(group), CTRL_C) => self.interrupt(group, signal::SIGINT, "^C\n"),
            (Owner::Group(group), CTRL_BACKSLASH) => self.interrupt(group, signal::SIGQUIT, "^\\\n"),
            (Owner::Group(_), byte) => self.discipline(byte),
            (Owner::Anybody | Owner::Kernel, byte) => {
                self.add(&[byte]);
                Effect::default()
            }
        }
    }

    fn interrupt(&mut self, group: u32, signal: u32, echo: &str) -> Effect {
        self.line.take();
        Effect { echo: echo.into(), signal: Some((group, signal)) }
    }

    fn discipline(&mut self, byte: u8) -> Effect {
        let mut effect = Effect::default();
        match self.line.push(byte, &mut effect.echo) {
            // The end of the file is a piece of its own.
            Some(piece) if piece.is_empty() => self.pieces.push_back(piece),
            Some(piece) if !self.is_full() => self.add(&piece),
            _ => {}
        }
        effect
    }

    /// Adds bytes, at least one, behind those that wait; [`take`] finds the lines in them.
    fn add(&mut self, bytes: &[u8]) {
        self.waiting += bytes.len();
        match self.pieces.back_mut() {
            Some(piece) if !piece.is_empty() => piece.extend_from_slice(bytes),
            _ => self.pieces.push_back(bytes.into()),
        }
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
    let was_full = input.is_full();
    input.waiting -= count;
    let has_room = was_full && !input.is_full();
    drop(input);
    if has_room {
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

/// Gives the terminal to `owner`, with what was typed and is not read yet: to a
/// program through the discipline, as if it were typed now.
///
/// # Errors
/// `ENOMEM` if there is no memory for the thread that reads.
pub(crate) fn give(owner: Owner) -> Result<(), Errno> {
    start()?;
    let mut input = INPUT.lock();
    let rest = input.line.take();
    if !rest.is_empty() {
        input.add(&rest);
    }
    input.owner = owner;
    let mut effects = Vec::new();
    if matches!(owner, Owner::Group(_)) {
        input.waiting = 0;
        let typed = core::mem::take(&mut input.pieces);
        effects.extend(typed.into_iter().flatten().map(|byte| input.put(byte)));
    }
    drop(input);
    effects.into_iter().for_each(Effect::happen);
    // There may be bytes that were too many for the one before. The thread wakes
    // all readers afterwards.
    look();
    Ok(())
}

/// Whose the terminal is.
pub(crate) fn owner() -> Owner {
    INPUT.lock().owner
}
