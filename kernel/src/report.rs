//! The report: every CPU's counts, one counter per line.
//!
//! The lines are an interface (`name cpu0 cpu1 … total`): tests and tools read them. They stand
//! between two marker lines on the console at power-off, and in `/proc/lazy_tlb`.

use alloc::string::{String, ToString};
use core::fmt;

use kcore::counters::Counters;
use trace_format::{Body, Kind};

use crate::machine::lazy_tlb;
use crate::trace;

/// The line before the report on the console.
const BEGIN: &str = "--- lazy-tlb report ---";
/// The line after it.
const END: &str = "--- end of report ---";

/// The report, as it prints: a heading that names the columns, then the counters.
/// Allocates nothing, for the sake of crash reports.
struct Report;

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kernel = lazy_tlb();
        write!(f, "{:<18}", "counter")?;
        for cpu in 0..kernel.nr_cpus() {
            // "cpu" and the number, 9 characters together.
            let digits = cpu.checked_ilog10().unwrap_or(0) as usize + 1;
            write!(f, " {:>1$}{cpu}", "cpu", 9 - digits)?;
        }
        writeln!(f, " {:>9}", "total")?;
        for (row, name) in Counters::NAMES.iter().enumerate() {
            write!(f, "{name:<18}")?;
            let mut total = 0;
            for cpu in kernel.cpus() {
                let count = cpu.counters.values()[row];
                total += count;
                write!(f, " {count:>9}")?;
            }
            writeln!(f, " {total:>9}")?;
        }
        Ok(())
    }
}

/// The report as text, for `/proc/lazy_tlb`.
pub(crate) fn render() -> String {
    Report.to_string()
}

/// Prints the report between its markers.
pub(crate) fn print() {
    let mark = |sub| trace::note!(Kind::Report, Body { sub, ..Body::new(Kind::Report) });
    mark(0);
    crate::println!("{BEGIN}\npolicy {}\n{Report}{END}", lazy_tlb().config().policy.name());
    mark(1);
}
