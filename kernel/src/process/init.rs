//! The first process: from a kernel thread to init, and the end of the machine.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use powerpc64::rtas;

use super::exit::Status;
use super::signal::Handlers;
use super::stack::Arguments;
use super::{INIT_PID, Inheritance, Process, Thread, current, exec, signal, table};
use crate::fs::path::Place;
use crate::fs::table::FileTable;
use crate::fs::{Description, OpenFlags, tty};
#[cfg(feature = "selftest")]
use crate::task::registry;
use crate::task::{self, OutOfMemory, kthread};
use crate::{clock, shutdown};

/// Starts the program `path` as process 1, with the console as descriptors 0 to 2.
/// `arguments` begin with its name. Interrupts and preemption on.
pub(crate) fn start_init(path: String, arguments: Vec<String>, environment: Vec<String>) {
    if start(INIT_PID, path, Arguments { arguments, environment }).is_err() {
        stop("no memory for the stack of init");
    }
}

/// Starts the program `path` as a process without parent, like init but one whose
/// end ends nothing: for tests. Its status is 127 if it cannot be run.
///
/// # Errors
/// There is no memory for its stack.
#[cfg(feature = "selftest")]
pub(crate) fn launch(path: &str, arguments: &[&str]) -> Result<Arc<Process>, OutOfMemory> {
    let arguments = arguments.iter().map(|&argument| String::from(argument)).collect();
    start(registry::next_tid(), path.into(), Arguments { arguments, environment: Vec::new() })
}

fn start(pid: u32, path: String, passed: Arguments) -> Result<Arc<Process>, OutOfMemory> {
    let process = Process::new(
        pid,
        Inheritance {
            parent: 0,
            group: pid,
            files: Arc::new(console_files()),
            directory: Place::root(),
            executable: String::new(),
            handlers: Arc::new(Handlers::new()),
            vfork_parent: None,
        },
    );
    table::add(process.clone());
    let thread = Thread::new(pid, process.clone());
    match kthread::spawn_first_thread(pid, thread, move || become_program(path, passed)) {
        Ok(_) => Ok(process),
        Err(error) => {
            table::forget(pid);
            Err(error)
        }
    }
}

/// On the kernel thread that becomes the program.
fn become_program(path: String, passed: Arguments) {
    current().adopt_current();
    if current().pid == INIT_PID {
        crate::println!("run {path} ({} us)", clock::uptime_us());
    }
    match exec::exec(&Place::root(), &path, &passed) {
        Ok(frame) => task::set_user_frame(frame),
        Err(reason) if current().pid == INIT_PID => stop(&alloc::format!("cannot run init {path}: {reason}")),
        Err(reason) => {
            crate::println!("cannot run {path}: {reason}");
            current().end_unborn(Status::exited(127));
        }
    }
}

/// Descriptors 0 to 2, one description as login leaves it.
fn console_files() -> FileTable {
    let files = FileTable::new();
    let console = Description::new(Arc::new(tty::Tty), OpenFlags::RDWR);
    for fd in 0..3 {
        files.replace(fd, console.clone(), false).expect("an empty table has room");
    }
    files
}

/// Init has ended: so does the machine, with QEMU's status 0 if init's was 0.
pub(super) fn ended(status: Status) -> ! {
    match status.0 & 0x7f {
        0 => shutdown::finish(
            status == Status::exited(0),
            format_args!("init exited with status {}", status.shell_code()),
        ),
        signal => shutdown::finish(false, format_args!("init was killed by {}", signal::name(signal))),
    }
}

/// There is no init: one line, and QEMU's status 1.
fn stop(line: &str) -> ! {
    crate::println!("{line}");
    rtas::os_term(line)
}
