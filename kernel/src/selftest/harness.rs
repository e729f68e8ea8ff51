//! Runs the tests and writes KTAP.

use core::ptr::{self, null_mut};
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering};

use arch::timer;
use kcore::cpu::CpuId;

use super::{Stop, Test, all, random};
use crate::config::Config;
use crate::task::kthread;
use crate::{println, shutdown};

/// Runs the tests in a kernel thread on the boot CPU, then ends the machine.
pub(crate) fn start(config: Config) {
    kthread::spawn_on(CpuId::BOOT, "selftest", move || {
        let (pattern, from) = (config.test_pattern(), config.test_from());
        match run_from(&config, pattern, from) {
            Some(true) => shutdown::finish(true, format_args!("selftest: all passed")),
            Some(false) => shutdown::finish(false, format_args!("selftest: there were failures")),
            None => {
                let pattern = pattern.unwrap_or_default();
                let why =
                    format_args!("selftest: test={pattern}: no test from {from} on has that in its name");
                shutdown::finish(false, why)
            }
        }
    });
}

/// Runs the tests whose names contain `pattern`, all without one. Returns whether none failed.
pub(crate) fn run_matching(config: &Config, pattern: Option<&str>) -> bool {
    run_from(config, pattern, 1) != Some(false)
}

/// Runs these tests in their order, those before number `from` left out. Returns whether none failed,
/// or none if there is no such test.
fn run_from(config: &Config, pattern: Option<&str>, from: u64) -> Option<bool> {
    start_watch();
    if let Some(seed) = config.seed {
        random::set_seed(seed);
    }
    let selected = || all().filter(|test| pattern.is_none_or(|p| test.name.contains(p)));
    println!("KTAP version 1\n1..{}", selected().count());
    if selected().next().is_none() {
        println!("# no test has that in its name");
    }
    let mut all_passed = None;
    for (number, test) in selected().enumerate().map(|(i, test)| (i as u64 + 1, test)) {
        if number >= from {
            all_passed = Some(run_one(number, test, config) & all_passed.unwrap_or(true));
        }
    }
    all_passed
}

/// Runs one test and prints its line. Returns whether it passed.
fn run_one(number: u64, test: &'static Test, config: &Config) -> bool {
    // The name comes first: it shows which test was running if the kernel dies.
    println!("# {} starts", test.name);
    let started_tb = timer::now_tb();
    STARTED_TB.store(started_tb, Ordering::Relaxed);
    // Release: orders the time before the test. Partner: the acquire in `watch`.
    RUNNING.store(ptr::from_ref(test).cast_mut(), Ordering::Release);
    selftest_begins(test.name.as_ptr(), test.name.len(), test.run as usize);
    let verdict = (test.run)();
    RUNNING.store(null_mut(), Ordering::Relaxed);
    let took_ms = (timer::now_tb() - started_tb) / (timer::ticks_per_us() * 1000);
    let name = test.name;
    let known = (test.may_fail)(config);
    match &verdict {
        Ok(()) => println!("ok {number} {name} # {took_ms} ms"),
        Err(Stop::Skip(why)) => println!("ok {number} {name} # SKIP {why}"),
        Err(Stop::Fail(why)) if known.is_some() => {
            println!("# {why}\nok {number} {name} # XFAIL {}", known.as_deref().unwrap_or_default());
        }
        Err(Stop::Fail(why)) => println!("# {why}\nnot ok {number} {name}"),
    }
    !matches!(verdict, Err(Stop::Fail(_))) || known.is_some()
}

/// Where a debugger stops before each test. `qemu-scripts/gdb` finds the name, its length and the
/// address of the test's function in r3 to r5.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn selftest_begins(name: *const u8, name_len: usize, run: usize) {
    // Without this the compiler would leave the call out.
    core::hint::black_box((name, name_len, run));
}

/// The test that runs, null between two; it started at [`STARTED_TB`].
static RUNNING: AtomicPtr<Test> = AtomicPtr::new(null_mut());
static STARTED_TB: AtomicU64 = AtomicU64::new(0);

/// Starts [`watch`], once.
fn start_watch() {
    static STARTED: AtomicBool = AtomicBool::new(false);
    if !STARTED.swap(true, Ordering::Relaxed) {
        kthread::spawn("test-watch", watch);
    }
}

/// Ends the machine if a test is not done in time. One thread for all tests: one per test would
/// disturb tests that count memory.
fn watch() {
    let second_tb = timer::ticks_per_us() * 1_000_000;
    loop {
        let now_tb = timer::now_tb();
        // SAFETY: null, or a test of the tables, which are constants. Acquire: see `run_one`. A
        // time that is already the next test's only makes the wait longer.
        if let Some(test) = unsafe { RUNNING.load(Ordering::Acquire).as_ref() }
            && now_tb.saturating_sub(STARTED_TB.load(Ordering::Relaxed)) >= test.limit_s * second_tb
        {
            crate::task::report::print_tasks();
            panic!("test {} is not done after {} s", test.name, test.limit_s);
        }
        crate::task::sleep_until_tb(now_tb + second_tb / 2);
    }
}
