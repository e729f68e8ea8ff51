//! Ways to break the kernel (`crash=KIND`), each to check the report that follows.
//!
//! The functions that break it are named in the reports, so none is inlined. The test driver checks
//! the reports.

mod faults;
mod hangs;
mod mms;

pub(crate) use faults::{fail_in_report, is_deaf_to_nmi};

use kcore::cpu::CpuId;

use crate::config::Config;
use crate::process;
use crate::sync::SpinWait;
use crate::task::{self, kthread};

/// The second CPU, where a crash needs one.
const OTHER: CpuId = CpuId::new(1);

/// The kind that breaks the kernel before there are threads.
const EARLY: &str = "early";

/// Every kind, by name.
const KINDS: &[(&str, fn())] = &[
    (EARLY, faults::plain_panic),
    ("panic", faults::plain_panic),
    ("null-read", faults::null_read),
    ("write-text", faults::write_text),
    ("exec-data", faults::exec_data),
    ("bad-address", faults::bad_address),
    ("illegal", faults::illegal_instruction),
    ("stack-overflow", faults::stack_overflow),
    ("big-frames", faults::big_frames),
    ("frame-freed-twice", faults::frame_freed_twice),
    ("frame-written-late", faults::frame_written_late),
    ("panic-in-interrupt", faults::panic_in_interrupt),
    ("two-panics", faults::two_panics),
    ("double-panic", faults::double_panic),
    ("panic-in-message", faults::panic_in_message),
    ("panic-with-program", faults::panic_with_program),
    ("t20_mmdrop_irqs_off", mms::mmdrop_with_irqs_off),
    ("t20_mmdrop_in_interrupt", mms::mmdrop_in_interrupt),
    ("nmi-deaf", faults::nmi_deaf),
    ("spin-deadlock", hangs::spin_deadlock),
    ("ipi-silent", hangs::ipi_silent),
    ("irqs-off", hangs::irqs_off),
    ("no-yield", hangs::no_yield),
    ("coprocessor-not-counted", mms::coprocessor_not_counted),
];

/// Whether there is such a kind.
pub(crate) fn is_kind(name: &str) -> bool {
    KINDS.iter().any(|(kind, _)| *kind == name)
}

/// Breaks the kernel before there are tasks or other CPUs, if that is the kind.
pub(crate) fn early(kind: Option<&str>) {
    if kind == Some(EARLY) {
        faults::plain_panic();
    }
}

/// Starts a thread that breaks the kernel, on the boot CPU; and init, if the kind
/// wants a program to run meanwhile. The other CPUs have come to their idle loops
/// by then: a CPU is online some steps before, and the report shows where it is.
pub(crate) fn start(kind: &str, config: Config) {
    let Some(&(_, run)) = KINDS.iter().find(|(name, _)| *name == kind) else { return };
    let has_come = |cpu| cpu == CpuId::BOOT || task::is_idle(cpu);
    wait_for("the other CPUs to idle", || task::online_cpus().iter().all(has_come));
    if kind == "panic-with-program" {
        process::start_init(config.init, config.init_args, config.init_env);
    }
    kthread::spawn_on(CpuId::BOOT, "crash", run);
}

/// Waits by spinning, with a limit.
fn wait_for(what: &'static str, done: impl Fn() -> bool) {
    let mut wait = SpinWait::new(what);
    while !done() {
        wait.turn();
    }
}
