//! Typed bytes, from the terminal's interrupt to their reader.
//!
//! ```text
//! interrupt ──> kernel thread ──> discipline ──> pieces ──> tty::read, monitor
//!                     └─ Ctrl-C, Ctrl-\ ──> signal to the foreground group
//! ```
//! The thread alone takes bytes from the hypervisor. It starts with the first read or poll, and
//! sleeps until the interrupt reports bytes: waiting for input costs nothing. Only a terminal
//! without that interrupt is asked from time to time.
//!
//! Without a monitor there is no discipline: bytes arrive as they were sent, for programs that
//! read a pipe. With a monitor, a program in the foreground gets lines ([`Input`]); while there
//! is none, the monitor gets the bare keys.

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

/// How often a terminal without interrupt is asked, in microseconds: a person types slower.
const POLL_US: u64 = 20_000;

/// Guards the typed bytes. The heap's locks nest inside.
static INPUT: SpinLock<Input> = SpinLock::new("console input", Input::new());
/// The tasks that wait for a piece.
static READERS: WaitQueue = WaitQueue::new();
/// The threads that poll for a piece.
static POLLERS: PollHead = PollHead::new();

/// The hypervisor may have bytes. Set by the interrupt, and by readers that make room.
static LOOK: AtomicBool = AtomicBool::new(true);
/// The thread, until `LOOK`.
static THREAD: WaitQueue = WaitQueue::new();

/// The terminal's interrupt: there are bytes to read. Interrupts off.
pub(crate) fn interrupt() {
    look();
}

/// Makes the thread look. Any context.
fn look() {
    // The wake-up orders this store before its look at the waiters.
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

/// The thread's life. Bytes typed before the interrupt was on raised none, but `LOOK` starts as
/// true.
fn serve() {
    let boot_server = task::area_of(CpuId::BOOT).server();
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

/// Takes the hypervisor's bytes until it has none (the next byte interrupts) or they have to wait
/// there ([`Input::must_wait`]).
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

/// Does the echo and the signal of a byte. Not under the lock.
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

/// Whether [`take`] has bytes or an end for `reader`. Starts the thread if need be.
pub(crate) fn is_ready(reader: Owner) -> bool {
    // Without memory there is nothing to read.
    start().is_ok() && INPUT.lock().has_for(reader)
}

/// The head that is notified of changes of [`is_ready`].
pub(crate) fn poll_head() -> &'static PollHead {
    &POLLERS
}

/// Moves typed bytes to `to`, of one line at most. Returns their number; 0 is the end of the
/// file; `None` if there is nothing for `reader` now.
pub(crate) fn take(reader: Owner, to: &mut [u8]) -> Option<usize> {
    let (count, has_room) = INPUT.lock().take(reader, to)?;
    if has_room {
        look();
    }
    Some(count)
}

/// Waits until [`take`] has bytes or an end for `reader`: a program in the background waits until
/// it is in front. A signal ends the wait, as it does in a system call. Interrupts and preemption
/// on.
pub(crate) fn wait(reader: Owner) -> Result<(), Errno> {
    start()?;
    signal::wait(&READERS, || INPUT.lock().has_for(reader))
}

/// Like [`wait`], for a kernel thread, which nothing interrupts. False if the time base reaches
/// `deadline_tb` first.
///
/// # Errors
/// `ENOMEM` if there is no memory for the thread that reads.
pub(crate) fn wait_until(reader: Owner, deadline_tb: u64) -> Result<bool, Errno> {
    start()?;
    Ok(READERS.wait_until_deadline(|| INPUT.lock().has_for(reader), deadline_tb))
}

/// Gives the terminal to `owner`, with the typed bytes that are not read yet: to a program
/// through the discipline, as if they were typed now.
///
/// # Errors
/// `ENOMEM` if there is no memory for the thread that reads.
pub(crate) fn give(owner: Owner) -> Result<(), Errno> {
    start()?;
    let effects = INPUT.lock().give(owner);
    effects.into_iter().for_each(happen);
    // The hypervisor may have bytes for which the last owner had no room. The thread wakes all
    // readers afterwards.
    look();
    Ok(())
}

/// The owner of the terminal.
pub(crate) fn owner() -> Owner {
    INPUT.lock().owner()
}
