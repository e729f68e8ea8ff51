//! The report: what every CPU counted, one counter a line.
//!
//! The lines are an interface (`name cpu0 cpu1 … total`): tests and tools read
//! them. They stand between two marker lines on the console at power-off, and
//! are what `/proc/lazy_tlb` holds.

use alloc::string::String;
use core::fmt::{self, Write};

use kcore::counters::Counters;

use crate::machine::lazy_tlb;

/// The line before the report on the console.
const BEGIN: &str = "--- lazy-tlb report ---";
/// The line after it.
const END: &str = "--- end of report ---";

/// Writes the report: a heading that names the columns, then the counters.
fn write(out: &mut dyn Write) -> fmt::Result {
    let kernel = lazy_tlb();
    write!(out, "{:<18}", "counter")?;
    for cpu in 0..kernel.nr_cpus() {
        write!(out, " {:>9}", alloc::format!("cpu{cpu}"))?;
    }
    writeln!(out, " {:>9}", "total")?;
    for (row, name) in Counters::NAMES.iter().enumerate() {
        write!(out, "{name:<18}")?;
        let mut total = 0;
        for cpu in kernel.cpus() {
            let count = cpu.counters.values()[row];
            total += count;
            write!(out, " {count:>9}")?;
        }
        writeln!(out, " {total:>9}")?;
    }
    Ok(())
}

/// The report as text, for `/proc/lazy_tlb`.
pub(crate) fn render() -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = write(&mut text);
    text
}

/// Prints the report between its markers.
pub(crate) fn print() {
    crate::println!("{BEGIN}\npolicy {}\n{}{END}", lazy_tlb().config().policy.name(), render());
}
