//! The first process: from a kernel thread to init, and the end of the machine.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use powerpc64::{context, rtas};

use super::exit::Status;
use super::signal::Handlers;
use super::stack::Arguments;
use super::{INIT_PID, Inheritance, Process, Thread, current, exec, signal, table};
use crate::fs::path::Place;
use crate::fs::table::FileTable;
use crate::fs::{Description, OpenFlags, tty};
use crate::shutdown;
use crate::task::kthread;

/// Starts the program `path` as process 1, with the console as descriptors 0 to 2.
/// `arguments` begin with its name. Interrupts and preemption on.
pub(crate) fn start_init(path: String, arguments: Vec<String>, environment: Vec<String>) {
    let process = Process::new(
        INIT_PID,
        Inheritance {
            parent: 0,
            group: INIT_PID,
            files: Arc::new(console_files()),
            directory: Place::root(),
            executable: String::new(),
            handlers: Arc::new(Handlers::new()),
            vfork_parent: None,
        },
    );
    table::add(process.clone());
    let thread = Thread::new(INIT_PID, process);
    let passed = Arguments { arguments, environment };
    if kthread::spawn_init(thread, move || become_init(path, passed)).is_err() {
        stop("no memory for the stack of init");
    }
}

/// On the kernel thread that becomes init.
fn become_init(path: String, passed: Arguments) {
    current().adopt_current();
    let result = exec::exec(&Place::root(), &path, &passed);
    match result {
        Ok(frame) => {
            drop((path, passed));
            // SAFETY: a task's own entry, its address space loaded by exec, and
            // everything on this stack dropped.
            unsafe { context::enter_user(&frame) }
        }
        Err(reason) => stop(&alloc::format!("cannot run init {path}: {reason}")),
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
