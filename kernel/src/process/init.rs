//! The first process: from a kernel thread to init, and the end of the machine.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use arch::rtas;

use super::exit::Status;
use super::limits::Limits;
use super::signal::Handlers;
use super::stack::Arguments;
use super::{INIT_PID, Inheritance, Process, Thread, current, exec, table};
use crate::fs::path::Place;
use crate::fs::table::FileTable;
use crate::fs::table_use::TableUse;
use crate::fs::{Description, OpenFlags};
use crate::task::Mutex;
use crate::task::{self, OutOfMemory, kthread, registry};
use crate::{clock, upcalls};

/// Starts the program `path` as process 1, with the console as descriptors 0 to 2.
/// `arguments` begin with its name. Interrupts and preemption on.
pub(crate) fn start_init(path: String, arguments: Vec<String>, environment: Vec<String>) -> Arc<Process> {
    let bytes = |strings: Vec<String>| strings.into_iter().map(String::into_bytes).collect();
    let passed = Arguments { arguments: bytes(arguments), environment: bytes(environment) };
    start(INIT_PID, path, passed).unwrap_or_else(|OutOfMemory| stop("no memory for the stack of init"))
}

/// Starts the program that `arguments` begin with as a process without parent, in a group of its
/// own. Unlike init's, its end does not stop the machine. Its status is 127 if it cannot be run.
///
/// # Errors
/// There is no memory for its stack.
pub(crate) fn launch(arguments: &[&str], environment: &[String]) -> Result<Arc<Process>, OutOfMemory> {
    let path = String::from(arguments[0]);
    let arguments = arguments.iter().map(|argument| argument.as_bytes().to_vec()).collect();
    let environment = environment.iter().map(|variable| variable.as_bytes().to_vec()).collect();
    start(registry::next_tid(), path, Arguments { arguments, environment })
}

fn start(pid: u32, path: String, passed: Arguments) -> Result<Arc<Process>, OutOfMemory> {
    let process = Process::new(
        pid,
        Inheritance {
            files: TableUse::new(console_files()),
            limits: Limits::of_init(),
            directory: Arc::new(Mutex::new(Place::root())),
            program: Arc::default(),
            umask: 0o022,
            handlers: first_handlers(),
        },
    );
    table::add(process.clone());
    let thread = Thread::new(pid, process.clone());
    match kthread::spawn_first_thread(pid, thread, move || become_program(path, passed)) {
        Ok(_) => Ok(process),
        Err(error) => {
            table::forget(&process);
            Err(error)
        }
    }
}

// Not inlined: they are 2 KB, on the stack at first.
#[inline(never)]
fn first_handlers() -> Arc<Handlers> {
    Arc::new(Handlers::new())
}

/// On the kernel thread that becomes the program.
fn become_program(path: String, passed: Arguments) {
    current().adopt_current();
    if current().pid == INIT_PID {
        crate::println!("run {path} ({} us)", clock::uptime_us());
    }
    match exec::exec(&Place::root(), &path, &passed) {
        Ok(frame) => task::set_user_frame(frame),
        Err(_) if task::current().killed() => current().end_unborn(current().status()),
        Err(reason) if current().pid == INIT_PID => stop(&alloc::format!("cannot run init {path}: {reason}")),
        Err(reason) => {
            crate::println!("cannot run {path}: {reason}");
            current().end_unborn(Status::exited(127));
        }
    }
}

/// Descriptors 0 to 2, one description as login leaves it.
fn console_files() -> Arc<FileTable> {
    let files = FileTable::new();
    let console = Description::new(upcalls::console_file(), OpenFlags::RDWR);
    for fd in 0..3 {
        files.replace(fd, console.clone(), false).expect("an empty table has room");
    }
    files
}

/// There is no init: one line, and QEMU's status 1.
fn stop(line: &str) -> ! {
    crate::println!("{line}");
    rtas::os_term(line)
}
