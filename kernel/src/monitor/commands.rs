//! The commands: one table for `help`, Tab and the answers.

use alloc::vec::Vec;

use formats::cmdline;
use terminal::table::Table;

use super::{Monitor, cpus, hotplug, mms, ps, run, test, trace, watch};
use crate::{print, println, report, shutdown};

/// A command.
struct Command {
    name: &'static str,
    /// The words that may follow, for `help`.
    arguments: &'static str,
    /// How many words may follow.
    most: usize,
    /// Its use, for `help`.
    help: &'static str,
    answer: fn(&Monitor, &[&str]),
}

/// One row of the table.
const fn command(
    name: &'static str,
    arguments: &'static str,
    most: usize,
    help: &'static str,
    answer: fn(&Monitor, &[&str]),
) -> Command {
    Command { name, arguments, most, help, answer }
}

/// All commands, by name.
const COMMANDS: &[Command] = &[
    command("bench", "[NAME]", 1, "what operations cost; those whose names begin with that", run::bench),
    command("cpus", "", 0, "each CPU: task, loaded address space, whether borrowed", |_, _| cpus::show()),
    command("help", "", 0, "this list", |_, _| help()),
    command("kill", "PID", 1, "end a process", |_, words| run::kill(words)),
    command("mm", "NAME", 1, "one address space, whole", |_, words| mms::show_one(words)),
    command("mms", "", 0, "each address space: counts, mask, who is lazy on it", |_, _| mms::show()),
    command("offline", "CPU", 1, "take a CPU offline", |_, words| hotplug::offline(words)),
    command("online", "CPU", 1, "bring a CPU back", |_, words| hotplug::online(words)),
    command("poweroff", "", 0, "end the machine, with the status of init", |monitor, _| {
        shutdown::power_off(monitor.init)
    }),
    command("ps", "", 0, "each task: state, CPU, address space", |_, _| ps::show()),
    command("report", "", 0, "what every CPU has counted since boot", |_, _| report::print()),
    command(
        "run",
        "PATH [args] [&]",
        usize::MAX,
        "run a program, wait for its end unless there is a &",
        run::answer,
    ),
    command("test", "[pattern]", 1, "run the in-kernel tests that have that in their names", test::run),
    command("trace", "on|off|show [N]|EVENTS", 2, "record events, or show the last N", |_, words| {
        trace::answer(words);
    }),
    command("watch", "", 0, "CPUs and address spaces, each second anew, until a q", |_, _| watch::show()),
];

/// The commands' names, for Tab.
pub(super) fn names() -> Vec<&'static str> {
    COMMANDS.iter().map(|command| command.name).collect()
}

/// Answers a line.
pub(super) fn answer(monitor: &Monitor, line: &str) {
    let words: Vec<&str> = cmdline::words(line).collect();
    let Some((&name, rest)) = words.split_first() else { return };
    match COMMANDS.iter().find(|command| command.name == name) {
        Some(command) if rest.len() > command.most => {
            println!("usage: {} {}", command.name, command.arguments);
        }
        Some(command) => (command.answer)(monitor, rest),
        // A path can only be meant to be run.
        None if name.starts_with('/') => run::answer(monitor, &words),
        None => println!("{name}: no such command; `help` lists them"),
    }
}

fn help() {
    let mut table = Table::new(["command", "", "what it shows or does"]);
    for command in COMMANDS {
        table.row([&command.name, &command.arguments, &command.help]);
    }
    print!("{table}");
    println!("While a program runs, Ctrl-C interrupts it, Ctrl-\\ kills it, Ctrl-D ends its input.");
    println!("At the prompt: arrows, Ctrl-A and E, Ctrl-K, U and W, Tab; up and down for the history.");
}
