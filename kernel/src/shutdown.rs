//! The end of a machine whose work is done, or that a user stops.

use core::fmt;
use core::sync::atomic::{AtomicBool, Ordering};

use arch::rtas;

use crate::process::exit::Status;
use crate::{println, report};

/// Whether the report is wanted when init has ended.
static REPORT: AtomicBool = AtomicBool::new(false);

/// Chooses whether there is a report when init has ended. At boot.
pub(crate) fn set_report(wanted: bool) {
    REPORT.store(wanted, Ordering::Relaxed);
}

/// Prints the report, if it is wanted.
pub(crate) fn report() {
    if REPORT.load(Ordering::Relaxed) {
        report::print();
    }
}

/// Prints the report and, as the last line, `why`; ends QEMU with status 0 on success, 1 else.
pub(crate) fn finish(success: bool, why: fmt::Arguments<'_>) -> ! {
    report();
    end(success, why)
}

/// Ends QEMU at a user's request, long after init ended with `init`.
pub(crate) fn power_off(init: Status) -> ! {
    end(init.is_success(), format_args!("power-off; init {init}"))
}

fn end(success: bool, why: fmt::Arguments<'_>) -> ! {
    println!("{why}");
    if success { rtas::power_off() } else { rtas::os_term("see the last line of the console") }
}
