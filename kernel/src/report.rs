//! The report: every CPU's counts, one counter per line.
//!
//! The lines are an interface (`name cpu0 cpu1 … total`): tests and tools read them. They stand
//! between two marker lines on the console at power-off, and in `/proc/lazy_tlb`. On the console
//! of more CPUs than fit, the least, the median, the most and the CPU that has it stand before
//! the total, unless `report=all` asks for each CPU.

use alloc::string::{String, ToString};
use core::fmt;
use core::sync::atomic::{AtomicBool, Ordering};

use kcore::counters::{Counters, Spread};
use kcore::cpu::CpuId;
use kcore::mm::zombies::Zombies;
use trace_format::{Body, Kind};

use crate::machine::lazy_tlb;
use crate::trace;

/// The line before the report on the console.
const BEGIN: &str = "--- lazy-tlb report ---";
/// The line after it.
const END: &str = "--- end of report ---";

/// With more CPUs than this the console, of 100 columns, has none for each.
const MOST_COLUMNS: usize = 8;

/// Whether the console has a column for each CPU, however many there are.
static ALL: AtomicBool = AtomicBool::new(false);

/// Chooses a column for each CPU on the console. At boot.
pub(crate) fn set_all(wanted: bool) {
    ALL.store(wanted, Ordering::Relaxed);
}

/// The report, as it prints: a heading that names the columns, then the counters.
/// Allocates nothing, for the sake of crash reports.
struct Report {
    /// A column for each CPU.
    all: bool,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nr_cpus = lazy_tlb().nr_cpus();
        write!(f, "{:<17}", "counter")?;
        if self.all {
            (0..nr_cpus).try_for_each(|cpu| name_of(f, cpu))?;
        } else {
            write!(f, " {:>8} {:>8} {:>8} {:>8}", "min", "median", "max", "at")?;
        }
        writeln!(f, " {:>8}", "total")?;
        for (row, name) in Counters::NAMES.iter().enumerate() {
            write!(f, "{name:<17}")?;
            let count = |cpu| lazy_tlb().cpu(CpuId::new(cpu)).counters.values()[row];
            let mut sum = 0;
            if self.all {
                for count in (0..nr_cpus).map(count) {
                    sum += count;
                    write!(f, " {count:>8}")?;
                }
            } else {
                let Spread { min, median, max, at, total } = Spread::of(nr_cpus, count);
                write!(f, " {min:>8} {median:>8} {max:>8}")?;
                name_of(f, at)?;
                sum = total;
            }
            writeln!(f, " {sum:>8}")?;
        }
        let Zombies { peak, ticks, longest, .. } = lazy_tlb().zombies();
        for (name, count) in [("zombies_peak", peak), ("zombie_ticks", ticks), ("zombie_longest", longest)] {
            writeln!(f, "{name:<17} {:>8}", count.get())?;
        }
        Ok(())
    }
}

/// A CPU's name, as wide as a count.
fn name_of(f: &mut fmt::Formatter<'_>, cpu: usize) -> fmt::Result {
    let digits = cpu.checked_ilog10().unwrap_or(0) as usize + 1;
    write!(f, " {:>1$}{cpu}", "cpu", 8 - digits)
}

/// The report as text, for `/proc/lazy_tlb`.
pub(crate) fn render() -> String {
    Report { all: true }.to_string()
}

/// Prints the report between its markers.
pub(crate) fn print() {
    let mark = |sub| trace::note!(Kind::Report, Body { sub, ..Body::new(Kind::Report) });
    mark(0);
    let all = ALL.load(Ordering::Relaxed) || lazy_tlb().nr_cpus() <= MOST_COLUMNS;
    crate::println!("{BEGIN}\npolicy {}\n{}{END}", lazy_tlb().config().policy.name(), Report { all });
    mark(1);
}
