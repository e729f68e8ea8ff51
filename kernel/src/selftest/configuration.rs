//! The command line: the meaning of each option, and the refusal of bad values.

use alloc::format;

use kcore::lazy_tlb::Policy;

use super::{Test, Verdict, check, check_eq};
use crate::config::Config;

pub(super) const TESTS: &[Test] = &[
    Test::new("config_flushes_by_what_fits", flushes),
    Test::new("config_options", options),
    Test::new("config_bad_values", bad_values),
    Test::new("config_init", init),
];

/// Broadcasts up to 32 CPUs and IPIs above. `tlb=` counts on any number of CPUs. Never a broadcast
/// where the machine has none.
fn flushes() -> Verdict {
    let cases = [
        ("", true, 1, false),
        ("", true, 32, false),
        ("", true, 33, true),
        ("tlb=tlbie", true, 33, false),
        ("tlb=ipi", true, 1, true),
        ("", false, 1, true),
        ("tlb=tlbie", false, 1, true),
    ];
    for (line, can_broadcast, cpus, by_ipi) in cases {
        let mut config = Config::parse(line)?;
        config.choose_flush(can_broadcast, cpus);
        check_eq!(
            config.core.global_by_ipi,
            by_ipi,
            format!("flushes by IPI with '{line}', {cpus} CPUs, broadcast {can_broadcast}")
        );
    }
    Ok(())
}

fn options() -> Verdict {
    let usual = Config::parse("")?;
    check_eq!((usual.report, usual.monitor), (true, false), "report and monitor by default");
    check!(!usual.runs_tests() && usual.test_from() == 1, "tests without test=");
    for policy in Policy::ALL {
        let config = Config::parse(&format!("lazy_tlb={}", policy.name()))?;
        check_eq!(config.core.policy, policy, "the policy");
    }
    for (word, on) in [("on", true), ("off", false)] {
        let line = format!(
            "filter_lazies={word} exit_kick={word} debug_shoot_lazies={word} report={word} monitor={word}"
        );
        let config = Config::parse(&line)?;
        let core = &config.core;
        let found =
            [core.filter_lazies, core.exit_kick, core.debug_shoot_lazies, config.report, config.monitor];
        check_eq!(found, [on; 5], line);
    }
    let config = Config::parse("report=all")?;
    check_eq!((config.report, config.report_all), (true, true), "report=all");
    let config = Config::parse("trim=1 qemu=9.0 test= test_from=7")?;
    check_eq!((config.core.trim_period, &*config.qemu), (1, "9.0"), "trim and qemu");
    check_eq!((config.runs_tests(), config.test_pattern(), config.test_from()), (true, None, 7), "all tests");
    check_eq!(Config::parse("test=orders")?.test_pattern(), Some("orders"), "the tests' pattern");
    Ok(())
}

/// The sentence that refuses a value names it.
fn bad_values() -> Verdict {
    let lines = [
        "lazy_tlb=eagre",
        "tlb=both",
        "filter_lazies=1",
        "exit_kick=no",
        "debug_shoot_lazies=",
        "trim=0",
        "trim=-1",
        "init=bin/demo",
        "report=yes",
        "monitor=of",
        "test_from=x",
        "seed=0",
        "crash=never",
    ];
    for line in lines {
        let said = Config::parse(line).err();
        check!(said.as_ref().is_some_and(|why| why.starts_with(line)), "'{line}' is answered by {said:?}");
    }
    Ok(())
}

/// Init's path, arguments and environment, by Linux's rules.
fn init() -> Verdict {
    let usual = Config::parse("")?;
    check_eq!(
        (&*usual.init, &usual.init_args[..]),
        ("/bin/demo", &["/bin/demo".into()][..]),
        "init by default"
    );
    check_eq!(usual.init_env, ["HOME=/", "TERM=dumb"], "its environment");
    let config = Config::parse("mem=64M one init=/bin/sh A=1 module.option=2 -- two B=2")?;
    check_eq!(&*config.init, "/bin/sh", "init");
    check_eq!(config.init_args, ["/bin/sh", "one", "two", "B=2"], "its arguments");
    check_eq!(config.init_env, ["HOME=/", "TERM=dumb", "A=1"], "its environment");
    Ok(())
}
