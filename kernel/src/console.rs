//! The console: whole lines from many CPUs to one terminal; and what is typed there
//! ([`input`]).

use core::fmt::{self, Write};
use core::sync::atomic::{AtomicBool, Ordering};

use crate::sync::IrqLock;

pub(crate) mod input;

/// Guards the console: who holds it prints a whole line. Innermost of all locks;
/// taken with interrupts off, so nothing waits for other CPUs under it.
static CONSOLE: IrqLock<Writer> = IrqLock::new("console", Writer);

/// Set by a panic: from then on nobody waits for the lock, which may be held by
/// a CPU that was stopped.
static BROKEN: AtomicBool = AtomicBool::new(false);

struct Writer;

impl Write for Writer {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        powerpc64::console::write_bytes(text.as_bytes());
        Ok(())
    }
}

/// Writes `args` as one piece.
pub(crate) fn write(args: fmt::Arguments<'_>) {
    // Writing to the console does not fail.
    let _ =
        if BROKEN.load(Ordering::Relaxed) { Writer.write_fmt(args) } else { CONSOLE.lock().write_fmt(args) };
}

/// Writes bytes of a program as one piece.
pub(crate) fn write_bytes(bytes: &[u8]) {
    let _lock = CONSOLE.lock();
    powerpc64::console::write_bytes(bytes);
}

/// From now on print without the lock: this CPU panics and the others stop.
pub(crate) fn break_lock() {
    BROKEN.store(true, Ordering::Relaxed);
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
