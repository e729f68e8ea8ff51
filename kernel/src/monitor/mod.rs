//! The monitor: the prompt for a person at the terminal when init has ended.
//!
//! A kernel thread that reads lines and answers them ([`commands`]). Looking changes nothing that
//! is shown: the thread has no address space, so its CPU stays lazy on the mm that ran there
//! before. While a program runs, the terminal is the program's.

use alloc::string::String;
use core::sync::atomic::{AtomicBool, Ordering};

use terminal::prompt::{Event, Prompt};

use crate::config::Config;
use crate::console;
use crate::process::signal::{self, Info};
use crate::process::{self, INIT_PID, exit::Status};
use crate::special::input::{self, Owner};
use crate::task::kthread;
use crate::{println, shutdown};

mod commands;
mod cpus;
mod hotplug;
mod machine;
mod mms;
mod ps;
mod run;
mod test;
mod trace;
mod watch;

/// The text before the line.
const PROMPT: &str = "lazy-tlb> ";
/// The width that every terminal has.
const COLUMNS: usize = 80;

/// Whether the machine goes on without init.
static STAYS: AtomicBool = AtomicBool::new(false);

/// Init has ended: so does the machine, with QEMU's status 0 if init's was 0. If the
/// monitor stays, only all other processes end.
pub(crate) fn init_ended(status: Status) {
    if !stays() {
        shutdown::finish(status.is_success(), format_args!("init {status}"));
    }
    signal::send_to_all(|process| process.pid != INIT_PID, Some(Info::of_kernel(signal::SIGKILL)));
}

/// Whether the machine goes on when init has ended.
pub(crate) fn stays() -> bool {
    STAYS.load(Ordering::Relaxed)
}

/// The state for commands.
struct Monitor {
    /// How init ended: the status of the machine in the end.
    init: Status,
    /// The command line's settings: the environment of programs, the known failures.
    config: Config,
}

/// Starts init in the foreground, and the monitor behind it. Once, at boot.
pub(crate) fn start(config: Config) {
    STAYS.store(true, Ordering::Relaxed);
    kthread::spawn("monitor", move || main(config));
}

fn main(config: Config) {
    let (path, arguments) = (config.init.clone(), config.init_args.clone());
    let init = process::start_init(path, arguments, config.init_env.clone());
    let monitor = Monitor { init: run::in_foreground(&init), config };
    drop(init);
    shutdown::report();
    println!("init {}", monitor.init);
    println!("The machine stays on: `help` lists what can be asked, `poweroff` ends it.");
    let mut prompt = Prompt::new(PROMPT, COLUMNS, commands::names());
    loop {
        match read_line(&mut prompt) {
            Event::Entered(line) => commands::answer(&monitor, &line),
            Event::GivenUp => {}
            Event::EndOfInput => println!("`poweroff` ends the machine."),
        }
    }
}

/// Shows the prompt and reads until a line, or another event, is complete.
fn read_line(prompt: &mut Prompt) -> Event {
    let mut echo = prompt.row();
    loop {
        console::edit_row(&echo, prompt.row());
        echo.clear();
        let mut typed = [0; 1];
        // Nothing interrupts a kernel thread, and a failed start of the reader is tried again.
        let _ = input::wait(Owner::Kernel);
        if input::take(Owner::Kernel, &mut typed) == Some(1)
            && let Some(event) = prompt.push(typed[0], &mut echo)
        {
            console::edit_row(&echo, String::new());
            return event;
        }
    }
}
