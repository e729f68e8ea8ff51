//! The end of a machine that did what it was started for, or was told to stop.

use core::fmt;
use core::sync::atomic::{AtomicBool, Ordering};

use powerpc64::rtas;

use crate::{println, report};

/// Whether the report is wanted at the end.
static REPORT: AtomicBool = AtomicBool::new(false);

/// Chooses whether [`finish`] prints the report. At boot.
pub(crate) fn set_report(wanted: bool) {
    REPORT.store(wanted, Ordering::Relaxed);
}

/// Prints the report and, as the last line, `why`; ends QEMU with status 0 on
/// success, 1 else.
pub(crate) fn finish(success: bool, why: fmt::Arguments<'_>) -> ! {
    if REPORT.load(Ordering::Relaxed) {
        report::print();
    }
    println!("{why}");
    if success { rtas::power_off() } else { rtas::os_term("see the last line of the console") }
}
