//! The console: whole lines from many CPUs to one terminal, above the row that a person types on.

use alloc::string::String;
use core::fmt::{self, Write as _};
use core::sync::atomic::{AtomicU32, Ordering};

use arch::{percpu, rtas};
use kcore::cpu::CpuId;
use terminal::bottom::{Bottom, Screen};

use crate::sync::IrqLock;

/// Guards the console: its holder prints a whole line. Innermost of all locks; taken with
/// interrupts off, so nothing waits for other CPUs under it.
static CONSOLE: IrqLock<Bottom<Vty>> = IrqLock::new("console", Bottom::new(Vty));

/// No CPU's number: all CPUs may print.
const EVERYONE: u32 = u32::MAX;
/// Set by a crash report: the only CPU that prints from then on. It does not take the lock, which
/// a stopped CPU may hold. Output of other CPUs is lost.
static RESERVED: AtomicU32 = AtomicU32::new(EVERYONE);

/// The hypervisor's terminal.
struct Vty;

impl Screen for Vty {
    fn put(&mut self, bytes: &[u8]) {
        arch::console::write_bytes(bytes);
    }
}

/// Writes `args` as one piece.
pub(crate) fn write(args: fmt::Arguments<'_>) {
    // Writing to the console does not fail.
    let _ = match RESERVED.load(Ordering::Relaxed) {
        EVERYONE => CONSOLE.lock().above(|above| above.write_fmt(args)),
        cpu if cpu == this_cpu() => arch::console::Writer.write_fmt(args),
        _ => Ok(()),
    };
}

/// Writes bytes of a program as one piece.
pub(crate) fn write_bytes(bytes: &[u8]) {
    // The CPU of a crash report runs no program any more.
    if RESERVED.load(Ordering::Relaxed) == EVERYONE {
        CONSOLE.lock().above(|above| above.put(bytes));
    }
}

/// Shows what a key makes of the row that is typed, and keeps what draws it: see [`Bottom::edit`]. Not for a
/// crash report's CPU.
pub(crate) fn edit_row(echo: &str, row: String) {
    // The old text is freed without the lock.
    let _old = CONSOLE.lock().edit(echo, row);
}

/// From now on only `cpu` prints, without the lock: it reports a crash.
pub(crate) fn reserve_for(cpu: CpuId) {
    RESERVED.store(cpu.index() as u32, Ordering::Relaxed);
}

/// The machine cannot be used as it is: prints the reason as the last line and ends QEMU with
/// status 1. Any context, before the heap exists too.
pub(crate) fn cannot_start(why: fmt::Arguments<'_>) -> ! {
    write(format_args!("{why}\n"));
    rtas::os_term("see the last line of the console")
}

fn this_cpu() -> u32 {
    percpu::cpu_id().index() as u32
}

/// Prints to the console.
#[macro_export]
macro_rules! print {
    ($($arg:tt)*) => { $crate::console::write(format_args!($($arg)*)) };
}

/// Prints a line to the console.
#[macro_export]
macro_rules! println {
    () => { $crate::console::write(format_args!("\n")) };
    ($($arg:tt)*) => { $crate::console::write(format_args!("{}\n", format_args!($($arg)*))) };
}
