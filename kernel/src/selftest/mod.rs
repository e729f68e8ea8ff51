//! The in-kernel tests of test builds: KTAP on the console.
//!
//! A test returns its verdict; it does not panic, so one failure does not hide the next. If the
//! kernel panics or a test overruns its limit, the machine ends, and the runner continues with
//! `test_from=`.

mod address_space;
mod arithmetic;
mod bugs;
mod configuration;
mod copies;
mod coprocessor;
pub(crate) mod crashes;
mod gate;
mod gather;
mod hardware;
mod harness;
mod hook;
mod hotplug;
mod ipi;
pub(crate) mod keep_mm;
mod lazy;
mod memory;
mod placement;
pub(crate) mod points;
mod programs;
mod random;
mod scene;
mod scheduler;
mod script;
pub(crate) mod soak;
mod spared;
mod stage;
mod stale_tlb;
mod trace;
mod truncate;
mod turns;
mod user_copy;
mod waits;
mod windows;
mod zombies;

pub(crate) use harness::{run_matching, start};

use alloc::string::String;

use crate::config::Config;

/// Why a test did not pass.
pub(crate) enum Stop {
    /// It cannot run on this machine; the reason.
    Skip(&'static str),
    /// It failed; the value found and the one expected.
    Fail(String),
}

impl From<String> for Stop {
    fn from(why: String) -> Self {
        Stop::Fail(why)
    }
}

impl From<&str> for Stop {
    fn from(why: &str) -> Self {
        Stop::Fail(why.into())
    }
}

/// How a test ends.
pub(crate) type Verdict = Result<(), Stop>;

/// One test.
pub(crate) struct Test {
    /// `group_what`, unique.
    pub(crate) name: &'static str,
    /// Seconds of machine time after which it has hung.
    pub(crate) limit_s: u64,
    /// The test itself, in a kernel thread that may sleep.
    pub(crate) run: fn() -> Verdict,
    /// Why it may fail on a machine that is started like this although the kernel is right; none if
    /// it must pass.
    pub(crate) may_fail: fn(&Config) -> Option<String>,
}

impl Test {
    /// A test with the usual limit.
    const fn new(name: &'static str, run: fn() -> Verdict) -> Self {
        Test { name, limit_s: 60, run, may_fail: |_| None }
    }

    /// A test that counts the CPUs that an exit leaves to be shot. With a trim at every flush, the
    /// exit's own CPU leaves in its final flush.
    const fn of_untrimmed(name: &'static str, run: fn() -> Verdict) -> Self {
        let may_fail =
            |config: &Config| (config.core.trim_period == 1).then(|| "trim=1 leaves nothing to count".into());
        Test { may_fail, ..Self::new(name, run) }
    }
}

/// Every test, in the order in which they run.
fn all() -> impl Iterator<Item = &'static Test> {
    [
        arithmetic::TESTS,
        configuration::TESTS,
        hardware::TESTS,
        user_copy::TESTS,
        memory::TESTS,
        address_space::TESTS,
        gather::TESTS,
        ipi::TESTS,
        scheduler::TESTS,
        turns::TESTS,
        placement::TESTS,
        waits::TESTS,
        windows::TESTS,
        stale_tlb::TESTS,
        truncate::TESTS,
        hotplug::TESTS,
        bugs::TESTS,
        lazy::TESTS,
        spared::TESTS,
        trace::TESTS,
        zombies::TESTS,
        programs::TESTS,
    ]
    .into_iter()
    .flatten()
}

/// Fails the test unless the condition holds.
macro_rules! check {
    ($cond:expr, $($message:tt)+) => {
        if !$cond {
            return Err(alloc::format!($($message)+).into());
        }
    };
}
pub(crate) use check;

/// Fails the test unless both sides are equal; the message names the quantity.
macro_rules! check_eq {
    ($found:expr, $expected:expr, $what:expr) => {
        match (&$found, &$expected) {
            (found, expected) if found != expected => {
                return Err(alloc::format!("{}: found {found:?}, expected {expected:?}", $what).into());
            }
            _ => {}
        }
    };
}
pub(crate) use check_eq;
