//! Runs the tests and writes KTAP.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, Ordering};

use kcore::cpu::CpuId;
use powerpc64::timer;

use super::{Outcome, Test, all};
use crate::config::Config;
use crate::task::kthread;
use crate::{println, shutdown};

/// Runs the tests in a kernel thread on the boot CPU, then ends the machine.
pub(crate) fn start(config: Config) {
    kthread::spawn_on(CpuId::BOOT, "selftest", move || {
        if run(&config) {
            shutdown::finish(true, format_args!("selftest: all passed"))
        } else {
            shutdown::finish(false, format_args!("selftest: there were failures"))
        }
    });
}

/// Runs the tests that the command line selects, in their order. Whether none
/// failed.
fn run(config: &Config) -> bool {
    run_selected(config.test_pattern(), config.test_from())
}

/// Runs the tests whose names contain `pattern`, all without one. Whether none
/// failed.
pub(crate) fn run_matching(pattern: Option<&str>) -> bool {
    run_selected(pattern, 1)
}

fn run_selected(pattern: Option<&str>, from: u64) -> bool {
    let selected = || all().filter(|test| pattern.is_none_or(|p| test.name.contains(p)));
    println!("KTAP version 1\n1..{}", selected().count());
    let mut all_passed = true;
    for (number, test) in selected().enumerate().map(|(i, test)| (i as u64 + 1, test)) {
        if number >= from {
            all_passed &= run_one(number, test);
        }
    }
    all_passed
}

/// Runs one test and prints its line. Whether it passed.
fn run_one(number: u64, test: &'static Test) -> bool {
    // The name comes first: if the kernel dies, this is the test that did it.
    println!("# {} starts", test.name);
    let started_tb = timer::now_tb();
    let done = Arc::new(AtomicBool::new(false));
    watch(test, started_tb, done.clone());
    let verdict = (test.run)();
    // Release: nothing to order but the verdict; the watcher only looks.
    done.store(true, Ordering::Release);
    let took_ms = (timer::now_tb() - started_tb) / (timer::ticks_per_us() * 1000);
    let name = test.name;
    match &verdict {
        Ok(Outcome::Pass) => println!("ok {number} {name} # {took_ms} ms"),
        Ok(Outcome::Skip(why)) => println!("ok {number} {name} # SKIP {why}"),
        Ok(Outcome::ExpectedFailure(why)) => println!("ok {number} {name} # XFAIL {why}"),
        Err(why) => println!("# {why}\nnot ok {number} {name}"),
    }
    verdict.is_ok()
}

/// Starts a thread that ends the machine if the test is not done in time.
fn watch(test: &'static Test, started_tb: u64, done: Arc<AtomicBool>) {
    let second_tb = timer::ticks_per_us() * 1_000_000;
    let deadline_tb = started_tb + test.limit_s * second_tb;
    kthread::spawn("test-watch", move || {
        while !done.load(Ordering::Acquire) {
            let now_tb = timer::now_tb();
            if now_tb >= deadline_tb {
                crate::task::report::print_tasks();
                panic!("test {} is not done after {} s", test.name, test.limit_s);
            }
            crate::task::sleep_until_tb(deadline_tb.min(now_tb + second_tb / 50));
        }
    });
}
