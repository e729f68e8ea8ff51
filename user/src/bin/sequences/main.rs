//! `sequences FILE [MOST]`: does the sequences of a file, at most so many, and reports
//! steps with unexpected results.
//!
//! In a sequence up to three processes of two threads each use a few pages, one step
//! after another. Each step states its expected result. `qemu-scripts/sequences_*.py`
//! draw the sequences, with a model of Linux that gives the results, and read this
//! program's report.
#![no_std]
#![no_main]

extern crate alloc;

mod access;
mod actor;
mod control;
mod seen;
mod steps;
mod window;

use core::ffi::CStr;

use user::file::{self, Fd};
use user::memory::PAGE;
use user::sys::syscall;
use user::{Context, Env, Errno, Verdict, ensure, println, process, sched};

use control::{Control, Failure, Head, MOST_STEPS, Step, control};

user::main!(main);

/// This program's path, for exec.
const PROGRAM: &CStr = c"/bin/sequences";
/// The first argument of a process that goes on after exec; its number is the second.
const GO_ON: &CStr = c"--go-on";
/// The descriptor of the control page's file, which outlives exec.
const CONTROL: Fd = Fd(3);

/// The start of the file.
#[derive(Clone, Copy)]
#[repr(C)]
struct Start {
    magic: [u8; 4],
    count: u32,
    /// After so many sequences a line reports the progress.
    tell_every: u32,
    spare: u32,
}

fn main(env: &Env) -> Verdict {
    if env.arg_bytes(1) == Some(GO_ON) {
        return go_on(env.number(2, 0) as u8);
    }
    let path = env.arg_bytes(1).ok_or("the file is the first argument").context("usage")?;
    let page = make_control().context("the control page")?;
    access::handle_faults()?;
    let mut rest = map_file(path).context("the file of sequences")?;
    // SAFETY: plain numbers, of any value.
    let start: Start = unsafe { take(&mut rest) }?;
    ensure!(&start.magic == b"SEQ1", "no file of sequences");
    let count = (start.count as usize).min(env.number(2, usize::MAX));
    let mut wrong = 0;
    for done in 0..count {
        // SAFETY: plain numbers, of any value.
        let head: Head = unsafe { take(&mut rest) }?;
        if start.tell_every != 0 && done % start.tell_every as usize == 0 {
            println!("sequences: at {}", head.number);
        }
        prepare(page, head, &mut rest)?;
        if let Some(failure) = run()? {
            control::tell(head.number, failure);
            wrong += 1;
        }
    }
    println!("sequences: {} of {count} as expected", count - wrong);
    ensure!(wrong == 0, "{wrong} sequences were not as expected");
    Ok(())
}

/// Goes on after exec, whose step is then done.
fn go_on(process: u8) -> Verdict {
    control::map(CONTROL).context("the control page")?;
    access::handle_faults()?;
    if let Some((_, step)) = control().due() {
        control().done(step, 0);
    }
    actor::play(actor::first_of(process));
    Ok(())
}

/// Reads one structure from the front of `bytes`.
///
/// # Safety
/// Any bytes are a `T`.
unsafe fn take<T: Copy>(bytes: &mut &[u8]) -> Result<T, alloc::string::String> {
    let (front, rest) =
        bytes.split_at_checked(size_of::<T>()).ok_or("it is too short").context("the file")?;
    *bytes = rest;
    // SAFETY: as long as a `T`, and the caller's promise.
    Ok(unsafe { front.as_ptr().cast::<T>().read_unaligned() })
}

const O_RDONLY: usize = 0;
const O_RDWR: usize = 2;
const O_CREAT_TRUNC: usize = 0o1100;

fn open(path: &CStr, flags: usize) -> Result<Fd, Errno> {
    const OPENAT: usize = 286;
    const AT_FDCWD: usize = -100_isize as usize;
    // SAFETY: the kernel reads the path.
    unsafe { syscall(OPENAT, [AT_FDCWD, path.as_ptr() as usize, flags, 0o600, 0, 0]) }.map(|fd| Fd(fd as i32))
}

fn unlink(path: &CStr) -> Result<usize, Errno> {
    const UNLINK: usize = 10;
    // SAFETY: the kernel reads the path.
    unsafe { syscall(UNLINK, [path.as_ptr() as usize, 0, 0, 0, 0, 0]) }
}

fn set_len(file: Fd, len: usize) -> Result<usize, Errno> {
    const FTRUNCATE: usize = 93;
    // SAFETY: the file is ours, and no mapping of it is in use.
    unsafe { syscall(FTRUNCATE, [file.0 as usize, len, 0, 0, 0, 0]) }
}

/// Makes and maps the control page.
fn make_control() -> Result<*mut Control, Errno> {
    const NAME: &CStr = c"/tmp/sequences-control";
    let file = open(NAME, O_RDWR | O_CREAT_TRUNC)?;
    if file != CONTROL {
        return Err(Errno::EBADF);
    }
    unlink(NAME)?;
    set_len(file, PAGE)?;
    let page = control::map(file)?;
    let cpus = sched::affinity()?;
    // SAFETY: nothing else uses the page, whose zeroes are a `Control`.
    let control = unsafe { &mut *page };
    for (slot, cpu) in control.cpus.iter_mut().zip(cpus.iter()) {
        *slot = cpu as u16;
        control.nr_cpus += 1;
    }
    Ok(page)
}

/// Maps the whole of a file, shared, so that a fork copies none of it.
fn map_file(path: &CStr) -> Result<&'static [u8], Errno> {
    const LSEEK: usize = 19;
    const SEEK_END: usize = 2;
    const MMAP: usize = 90;
    const READ: usize = 1;
    const SHARED: usize = 1;
    let file = open(path, O_RDONLY)?;
    // SAFETY: the kernel places a new mapping, which stays; nothing writes to the file.
    unsafe {
        let len = syscall(LSEEK, [file.0 as usize, 0, SEEK_END, 0, 0, 0])?;
        let at = syscall(MMAP, [0, len, READ, SHARED, file.0 as usize, 0])?;
        Ok(core::slice::from_raw_parts(at as *const u8, len))
    }
}

/// Puts the next sequence on the control page, with files of its own.
fn prepare(page: *mut Control, head: Head, rest: &mut &[u8]) -> Verdict {
    const NAME: &CStr = c"/tmp/sequences-file";
    ensure!(usize::from(head.steps) <= MOST_STEPS, "sequence {} is too long", head.number);
    // SAFETY: there is no other process, so nothing else uses the page.
    let control = unsafe { &mut *page };
    control.head = head;
    for step in &mut control.steps[..usize::from(head.steps)] {
        // SAFETY: plain numbers, of any value.
        *step = unsafe { take::<Step>(rest) }?;
    }
    control.file = open(NAME, O_RDWR | O_CREAT_TRUNC).context("the file")?;
    control.read_only = open(NAME, O_RDONLY).context("the file")?;
    unlink(NAME).context("unlink")?;
    set_len(control.file, head.file_len.into()).context("ftruncate")?;
    (control.reader, control.writer) = file::pipe().context("pipe2")?;
    Ok(())
}

/// Does the prepared sequence, and removes all traces of it.
fn run() -> Result<Option<Failure>, alloc::string::String> {
    control().begin();
    let child = process::spawn(|| {
        actor::play(actor::first_of(0));
        1
    });
    let status = child.and_then(process::wait).context("the first process")?;
    if !status.success() {
        control().fail(seen::BAD_END, 0);
    }
    for fd in [control().file, control().read_only, control().reader, control().writer] {
        fd.close().context("close")?;
    }
    Ok(control().failure())
}
