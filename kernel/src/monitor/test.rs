//! `test`: the in-kernel tests, in builds that have them.

use super::Monitor;

/// Runs the tests whose names contain the word, or all tests. Tests count CPUs and are bound to
/// them, so all CPUs must be online.
#[cfg(feature = "selftest")]
pub(super) fn run(monitor: &Monitor, words: &[&str]) {
    let kernel = crate::machine::lazy_tlb();
    if kernel.online().len() < kernel.nr_cpus() {
        return crate::println!("test: a CPU is offline; `online` brings it back");
    }
    if !crate::selftest::run_matching(&monitor.config, words.first().copied()) {
        crate::println!("there were failures");
    }
}

/// Prints how to get tests.
#[cfg(not(feature = "selftest"))]
pub(super) fn run(_: &Monitor, _: &[&str]) {
    crate::println!("this build has no tests: `make run TESTS=on` starts one that has");
}
