//! The settings of the command line.
//!
//! A bad value for a known option ends the boot with one line: `lazy_tlb=eagre` must not lead to
//! a measurement of another policy. Unknown options go to init, by Linux's rules.

use alloc::string::String;
use alloc::vec::Vec;

use arch::encoding::platform_support::Interrupts;
use formats::cmdline::{self, Item, KeyValue, Unknown};
use kcore::lazy_tlb::Policy;
use trace_format::Group;

use crate::trace;

/// With more CPUs than this, flushes go by IPI unless `tlb=` says otherwise.
const MOST_CPUS_FOR_TLBIE: usize = 32;
/// Init, unless `init=` says otherwise: the demonstration.
const INIT: &str = "/bin/demo";

/// The kernel's options and init's start-up.
#[derive(Debug)]
pub(crate) struct Config {
    /// The protocol's configuration.
    pub(crate) core: kcore::Config,
    /// The value of `tlb=`, if it is given.
    flush_by_ipi: Option<bool>,
    /// What is traced from the start.
    pub(crate) trace: trace::Wanted,
    /// The program of process 1.
    pub(crate) init: String,
    /// Its arguments, its path first.
    pub(crate) init_args: Vec<String>,
    /// Its environment.
    pub(crate) init_env: Vec<String>,
    /// Print the report when init has ended.
    pub(crate) report: bool,
    /// With a column for each CPU, however many there are.
    pub(crate) report_all: bool,
    /// Stay at the monitor when init has ended, for a user at the terminal.
    pub(crate) monitor: bool,
    /// In test builds: run the tests whose names contain this (all if empty) instead of init.
    test: Option<String>,
    test_from: u64,
    /// In test builds: the way in which the kernel is to break.
    #[cfg(feature = "selftest")]
    pub(crate) crash: Option<String>,
    /// How many address spaces there may be at a time, `init_mm` included.
    pub(crate) pids: usize,
    /// In test builds: the seed of orders that are drawn at random; none for any.
    #[cfg(feature = "selftest")]
    pub(crate) seed: Option<u64>,
    /// In test builds: soak instead of init, if for a time.
    #[cfg(feature = "selftest")]
    pub(crate) soak: crate::upcalls::tests::soak::Plan,
    /// QEMU's version, if the runner passed it, for the reasons of expected failures.
    pub(crate) qemu: String,
}

impl Config {
    /// Reads `line`. The error is one sentence for the console.
    pub(crate) fn parse(line: &str) -> Result<Config, String> {
        let core = kcore::Config {
            // A test build asks all CPUs after every cleanup, unless the command line says
            // otherwise.
            debug_shoot_lazies: cfg!(feature = "selftest"),
            // Tests count the CPUs that are lazy.
            idle_limit_ms: if cfg!(feature = "selftest") { 3000 } else { 100 },
            ..kcore::Config::default()
        };
        let mut config = Config {
            core,
            pids: crate::machine::NR_MMS,
            flush_by_ipi: None,
            trace: trace::Wanted::default(),
            init: INIT.into(),
            init_args: Vec::new(),
            init_env: ["HOME=/", "TERM=dumb"].map(String::from).into(),
            report: true,
            report_all: false,
            monitor: false,
            test: None,
            test_from: 1,
            #[cfg(feature = "selftest")]
            crash: None,
            #[cfg(feature = "selftest")]
            seed: None,
            #[cfg(feature = "selftest")]
            soak: crate::upcalls::tests::soak::Plan::default(),
            qemu: "unknown".into(),
        };
        for item in cmdline::items(line) {
            match item {
                Item::InitArgument(word) => config.init_args.push(word.into()),
                Item::Option(option) => config.option(option)?,
            }
        }
        config.init_args.insert(0, config.init.clone());
        Ok(config)
    }

    fn option(&mut self, option: KeyValue<'_>) -> Result<(), String> {
        let value = option.value.unwrap_or("");
        let bad = |wanted: &str| Err(alloc::format!("{}={value}: {wanted}", option.key));
        match option.key {
            "lazy_tlb" => match Policy::from_name(value) {
                Some(policy) => self.core.policy = policy,
                None => {
                    let names = Policy::ALL.map(Policy::name).join(", ");
                    return bad(&alloc::format!("not a policy; one of {names}"));
                }
            },
            "tlb" => match value {
                "ipi" => self.flush_by_ipi = Some(true),
                "tlbie" => self.flush_by_ipi = Some(false),
                _ => return bad("how to flush other CPUs; tlbie or ipi"),
            },
            // The boot has used it, before there was a heap.
            "irq" => match Interrupts::from_name(value) {
                Some(_) => {}
                None => return bad("the interrupt controller; xive or xics"),
            },
            "filter_lazies" => match on_or_off(value) {
                Some(on) => self.core.filter_lazies = on,
                None => return bad("whether shootdown spares CPUs that have left; on or off"),
            },
            "exit_kick" => match on_or_off(value) {
                Some(on) => self.core.exit_kick = on,
                None => return bad("whether shootdown evicts CPUs before an exit's flush; on or off"),
            },
            "debug_shoot_lazies" => match on_or_off(value) {
                Some(on) => self.core.debug_shoot_lazies = on,
                None => return bad("whether to ask all CPUs after a cleanup; on or off"),
            },
            "idle_limit" => match value.parse() {
                Ok(ms @ 1..) => self.core.idle_limit_ms = ms,
                _ => return bad("after how many milliseconds an idle CPU lets go; a number, 1 or more"),
            },
            "trim" => match value.parse() {
                Ok(period @ 1..) => self.core.trim_period = period,
                _ => return bad("the period of the trim clock; a number of flushes, 1 or more"),
            },
            "trace" => match Group::mask_of(value) {
                Some(groups) => self.trace.groups = groups,
                None => {
                    let names = trace::names(Group::EVERY);
                    return bad(&alloc::format!("what to trace; on, off, or some of {names}"));
                }
            },
            "trace_kb" => match value.parse::<usize>() {
                Ok(kb) if trace::RINGS_KB.contains(&kb) && kb.is_power_of_two() => self.trace.kb = Some(kb),
                _ => return bad("the size of a CPU's trace; a power of two from 8 to 4096 KiB"),
            },
            "init" => match value.starts_with('/') {
                true => self.init = value.into(),
                false => return bad("the path of init; it begins with /"),
            },
            "report" => match value {
                "on" | "off" | "all" => (self.report, self.report_all) = (value != "off", value == "all"),
                _ => return bad("the report at power-off; on, off, or all for a column of each CPU"),
            },
            "monitor" => match value {
                "on" => self.monitor = true,
                "off" => self.monitor = false,
                _ => return bad("stay at the monitor when init has ended; on or off"),
            },
            "test" if cfg!(feature = "selftest") => self.test = Some(value.into()),
            "test_from" if cfg!(feature = "selftest") => match value.parse() {
                Ok(number) => self.test_from = number,
                Err(_) => return bad("the first test to run; a number"),
            },
            #[cfg(feature = "selftest")]
            "crash" => match crate::upcalls::tests::is_kind_of_crash(value) {
                true => self.crash = Some(value.into()),
                false => return bad("no way to crash that the tests know"),
            },
            "pids" if cfg!(feature = "selftest") => match value.parse() {
                Ok(pids @ 4..=crate::machine::NR_MMS) => self.pids = pids,
                _ => return bad("how many address spaces there may be; a number, 4 or more"),
            },
            #[cfg(feature = "selftest")]
            "seed" => match value.parse() {
                Ok(seed @ 1..) => self.seed = Some(seed),
                _ => return bad("the seed of the tests' random orders; a number of 1 or more"),
            },
            #[cfg(feature = "selftest")]
            "watchdog" => match value.parse() {
                Ok(ms @ 1..) => crate::limits::shorten(ms),
                _ => return bad("the limit of every watchdog; milliseconds, 1 or more"),
            },
            #[cfg(feature = "selftest")]
            "soak_loses" => match crate::upcalls::tests::soak::Loss::named(value) {
                Some(what) => self.soak.loses = Some(what),
                None => return bad("what the soak loses once; frame, mm_count, mm_users, block or init_mm"),
            },
            #[cfg(feature = "selftest")]
            "soak" | "soak_seed" | "soak_from" => match (option.key, value.parse()) {
                ("soak", Ok(seconds @ 1..)) => self.soak.seconds = seconds,
                ("soak_seed", Ok(seed)) => self.soak.seed = seed,
                ("soak_from", Ok(round @ 1..)) => self.soak.from = round,
                _ => return bad("of the soak: its seconds, its seed, the first round; a number"),
            },
            "qemu" => self.qemu = value.into(),
            // The boot has read it, before there was a heap.
            "mem" | "firmware_lacks" => {}
            _ => match option.if_unknown() {
                Unknown::Environment => self.init_env.push(option.word.into()),
                Unknown::Argument => self.init_args.push(option.word.into()),
                Unknown::Ignored => {}
            },
        }
        Ok(())
    }

    /// The reason why a correct kernel may see a stale translation, if there is one: flushes are
    /// broadcast, and this QEMU's broadcast `tlbie` does not wait for the other CPUs (before
    /// 9.1).
    #[cfg(feature = "selftest")]
    pub(crate) fn asynchronous_tlbie(&self) -> Option<String> {
        let mut parts = self.qemu.split('.').map(|part| part.parse::<u32>().unwrap_or(u32::MAX));
        let version = (parts.next()?, parts.next()?);
        let reason =
            || alloc::format!("QEMU {}: a broadcast tlbie does not wait for the other CPUs", self.qemu);
        (version < (9, 1) && !self.core.global_by_ipi).then(reason)
    }

    /// Decides how flushes travel. A broadcast, if this machine `can_broadcast`, bothers every
    /// CPU, an IPI only those in the mask: on many CPUs an IPI is better. The command line may
    /// say otherwise.
    pub(crate) fn choose_flush(&mut self, can_broadcast: bool, nr_cpus: usize) {
        let by_ipi = self.flush_by_ipi.unwrap_or(nr_cpus > MOST_CPUS_FOR_TLBIE);
        self.core.global_by_ipi = by_ipi || !can_broadcast;
    }
}

#[cfg(feature = "selftest")]
impl Config {
    /// Whether to run the in-kernel tests instead of init.
    pub(crate) fn runs_tests(&self) -> bool {
        self.test.is_some()
    }

    /// The part of a name that selects tests, or none for all.
    pub(crate) fn test_pattern(&self) -> Option<&str> {
        self.test.as_deref().filter(|pattern| !pattern.is_empty())
    }

    /// The number of the first test to run, from 1.
    pub(crate) fn test_from(&self) -> u64 {
        self.test_from
    }
}

/// The value of a switch.
fn on_or_off(value: &str) -> Option<bool> {
    match value {
        "on" => Some(true),
        "off" => Some(false),
        _ => None,
    }
}
