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
//! ([`Input`]), and the monitor, when no program is, gets the bare keys.

use core::sync::atomic::{AtomicBool, Ordering};

use arch::{console, timer};
use kcore::cpu::CpuId;
use terminal::input::{Effect, Input, Key};

use crate::errno::Errno;
use crate::fs::poll::PollHead;
use crate::process::Process;
use crate::process::signal::{self, Info};
use crate::sync::SpinLock;
use crate::task::WaitQueue;
use crate::task::{self, kthread};

pub(crate) use terminal::input::Owner;

/// How often a terminal without interrupt is asked, in microseconds: a person types
/// slower.
const POLL_US: u64 = 20_000;

/// Guards what was typed. The heap's locks nest inside.
static INPUT: SpinLock<Input> = SpinLock::new("console input", Input::new());
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
        happen(effect);
    }
    READERS.wake_all();
    POLLERS.notify();
}

/// Shows and signals what a byte does beside being there to be read; not under the lock.
fn happen(effect: Effect) {
    if !effect.echo.is_empty() {
        crate::console::write_bytes(effect.echo.as_bytes());
    }
    if let Some((group, key)) = effect.signal {
        let number = match key {
            Key::Interrupt => signal::SIGINT,
            Key::Quit => signal::SIGQUIT,
        };
        let in_group = |process: &Process| process.group.load(Ordering::Relaxed) == group;
        signal::send_to_all(in_group, Some(Info::of_kernel(number)));
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
    let (count, has_room) = INPUT.lock().take(reader, to)?;
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
    let effects = INPUT.lock().give(owner);
    effects.into_iter().for_each(happen);
    // There may be bytes that were too many for the one before. The thread wakes
    // all readers afterwards.
    look();
    Ok(())
}

/// Whose the terminal is.
pub(crate) fn owner() -> Owner {
    INPUT.lock().owner()
}
