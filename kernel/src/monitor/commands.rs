//! The commands: one table, from which `help`, Tab and the answers come.

use alloc::vec::Vec;

use formats::cmdline;
use terminal::table::Table;

use super::{Monitor, cpus, hotplug, mms, ps, run, test};
use crate::{print, println, report, shutdown};

/// A command.
struct Command {
    name: &'static str,
    /// What may follow, for `help`.
    arguments: &'static str,
    /// What it is good for, for `help`.
    help: &'static str,
    /// How many words may follow.
    most: usize,
    answer: fn(&Monitor, &[&str]),
}

/// All of them, by name.
const COMMANDS: &[Command] = &[
    Command {
        name: "cpus",
        arguments: "",
        help: "each CPU: task, loaded address space, whether borrowed",
        most: 0,
        answer: |_, _| cpus::show(),
    },
    Command { name: "help", arguments: "", help: "this list", most: 0, answer: |_, _| help() },
    Command {
        name: "kill",
        arguments: "PID",
        help: "end a process",
        most: 1,
        answer: |_, words| run::kill(words),
    },
    Command {
        name: "mms",
        arguments: "",
        help: "each address space: counts, mask, who is lazy on it",
        most: 0,
        answer: |_, _| mms::show(),
    },
    Command {
        name: "offline",
        arguments: "CPU",
        help: "take a CPU offline",
        most: 1,
        answer: |_, words| hotplug::offline(words),
    },
    Command {
        name: "online",
        arguments: "CPU",
        help: "bring a CPU back",
        most: 1,
        answer: |_, words| hotplug::online(words),
    },
    Command {
        name: "poweroff",
        arguments: "",
        help: "end the machine, with the status of init",
        most: 0,
        answer: |monitor, _| shutdown::power_off(monitor.init),
    },
    Command {
        name: "ps",
        arguments: "",
        help: "each task: state, CPU, address space",
        most: 0,
        answer: |_, _| ps::show(),
    },
    Command {
        name: "report",
        arguments: "",
        help: "what every CPU has counted since boot",
        most: 0,
        answer: |_, _| report::print(),
    },
    Command {
        name: "run",
        arguments: "PATH [args] [&]",
        help: "run a program, wait for its end unless there is a &",
        most: usize::MAX,
        answer: run::answer,
    },
    Command {
        name: "test",
        arguments: "[pattern]",
        help: "run the in-kernel tests that have that in their names",
        most: 1,
        answer: |monitor, words| test::run(&monitor.config, words.first().copied()),
    },
];

/// Their names, for Tab.
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
