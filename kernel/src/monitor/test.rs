//! `test`: the in-kernel tests, in builds that have them.

use crate::config::Config;

/// Runs the tests whose names contain `pattern`, all without one.
#[cfg(feature = "selftest")]
pub(super) fn run(config: &Config, pattern: Option<&str>) {
    if !crate::selftest::run_matching(config, pattern) {
        crate::println!("there were failures");
    }
}

/// Says how to get them.
#[cfg(not(feature = "selftest"))]
pub(super) fn run(_: &Config, _: Option<&str>) {
    crate::println!("this build has no tests: `make run TESTS=on` starts one that has");
}
