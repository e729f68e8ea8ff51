//! `run` and `kill`: a program in the foreground, or with `&` behind it.

use alloc::sync::Arc;

use super::Monitor;
use crate::fs::path::Place;
use crate::println;
use crate::process::exit::Status;
use crate::process::{self, Process, signal, table};
use crate::special::input::{self, Owner};
use crate::task::OutOfMemory;

/// Runs the program that `words` begin with, and prints its end unless it succeeded. With `&` at
/// the end it does not wait: while a program sleeps, CPUs that borrow its mm can be looked at.
pub(super) fn answer(monitor: &Monitor, words: &[&str]) {
    let (waits, words) = match words.split_last() {
        Some((&"&", words)) => (false, words),
        _ => (true, words),
    };
    if words.is_empty() {
        return list();
    }
    if !words[0].starts_with('/') {
        return println!("run: {} is not an absolute path, such as /bin/hello", words[0]);
    }
    match process::launch(words, &monitor.config.init_env) {
        Ok(process) if !waits => println!("process {}", process.pid),
        Ok(process) => {
            let status = in_foreground(&process);
            if !status.is_success() {
                println!("{} {status}", words[0]);
            }
        }
        Err(OutOfMemory) => println!("run: no memory for the stack of {}", words[0]),
    }
}

/// Runs the program that measures operations.
pub(super) fn bench(monitor: &Monitor, words: &[&str]) {
    answer(monitor, &[&["/bin/bench"], words].concat());
}

/// Ends a process in any state.
pub(super) fn kill(words: &[&str]) {
    let Some(&word) = words.first() else { return println!("usage: kill PID, a number that `ps` shows") };
    match word.parse().ok().and_then(table::find) {
        Some(process) => process.end(Status::signaled(signal::SIGKILL)),
        None => println!("kill: there is no process {word}; `ps` lists them"),
    }
}

/// Gives the terminal to the process's group until the process is dead.
pub(super) fn in_foreground(process: &Arc<Process>) -> Status {
    // Without memory for the reader the program runs without input.
    let _ = input::give(Owner::Group(process.pid));
    let status = process.wait_dead();
    let _ = input::give(Owner::Kernel);
    status
}

/// Lists the programs that can be run.
fn list() {
    println!("usage: run PATH [args] [&]");
    for directory in ["/bin", "/c"] {
        if let Ok((inode, _)) = Place::root().find(directory, true)
            && let Ok(names) = inode.directory()
        {
            println!("{directory}: {}", names.names().join(" "));
        }
    }
}
