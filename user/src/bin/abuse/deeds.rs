//! The deeds.

use core::ffi::CStr;
use core::hint::black_box;

use user::memory::{self, Protection};
use user::process::{self, Pid, SIGKILL};
use user::sys::syscall;
use user::{Errno, println, thread};

use crate::{calls, full};

/// A name, and the function, which gets the deed's number (`name=7`).
pub(crate) type Deed = (&'static str, fn(u64));

/// All of them.
pub(crate) const DEEDS: &[Deed] = &[
    ("recurse", |_| _ = recurse(1)),
    ("allocate", |_| allocate()),
    ("break", |_| grow_break()),
    ("populate", |_| populate()),
    ("areas", |_| areas()),
    ("forks", |_| forks()),
    ("threads", |_| threads()),
    ("descriptors", |_| descriptors()),
    ("fork-when-full", |_| full::fork()),
    ("exec-when-full", |_| full::exec()),
    ("touch-when-full", |_| full::touch()),
    ("thread-when-full", |_| full::thread()),
    ("directories", |_| full::directories()),
    ("files", |_| full::files()),
    ("long-arguments", |_| long_arguments()),
    ("many-arguments", |_| many_arguments()),
    ("wild-arguments", |_| wild_arguments()),
    ("random-calls", calls::random),
];

/// Prints the error by which the kernel refused, as the deed's result.
pub(crate) fn refused(what: &str, why: Errno) {
    println!("  {what}: {why}");
}

#[expect(unconditional_recursion, reason = "the deed")]
fn recurse(depth: u64) -> u64 {
    let frame = black_box([depth; 32]);
    recurse(depth + 1) + frame[depth as usize % 32]
}

/// Maps and touches memory without end.
fn allocate() {
    loop {
        match memory::map(1 << 20, Protection::READ_WRITE) {
            Ok(start) => (0..1 << 20).step_by(memory::PAGE).for_each(|offset| {
                // SAFETY: just mapped, and not used by anything else.
                unsafe { start.add(offset).write_volatile(1) }
            }),
            Err(why) => return refused("mmap", why),
        }
    }
}

/// Moves the break up and touches the new memory, without end.
fn grow_break() {
    // SAFETY: only asks.
    let mut end = unsafe { memory::brk(0) };
    loop {
        // SAFETY: the break only grows.
        let new = unsafe { memory::brk(end + (1 << 20)) };
        if new == end {
            return println!("  brk stays");
        }
        for page in (end..new).step_by(memory::PAGE) {
            // SAFETY: new memory of ours.
            unsafe { memory::poke(page, 1) };
        }
        end = new;
    }
}

/// Asks for far more present memory than there is.
fn populate() {
    const PRIVATE_ANONYMOUS_POPULATE: usize = 0x8022;
    // SAFETY: a mapping at an address of the kernel's choice.
    let asked = unsafe { syscall(MMAP, [0, 1 << 40, 3, PRIVATE_ANONYMOUS_POPULATE, usize::MAX, 0]) };
    match asked {
        Ok(start) => {
            // Before anything else: the next page of our text needs memory, too.
            // SAFETY: nothing uses the mapping.
            let gone = unsafe { memory::unmap(start, 1 << 40) };
            println!("  mmap: what could be had");
            if let Err(why) = gone {
                refused("munmap", why);
            }
        }
        Err(why) => refused("mmap", why),
    }
}

/// Cuts one mapping into as many areas as the kernel allows.
fn areas() {
    let pages = 1 << 18;
    let start = match memory::map(pages * memory::PAGE, Protection::READ) {
        Ok(start) => start as usize,
        Err(why) => return refused("mmap", why),
    };
    for page in (0..pages).step_by(2) {
        let address = start + page * memory::PAGE;
        // SAFETY: nothing uses the mapping.
        let cut = unsafe { memory::protect(address, memory::PAGE, Protection::NONE) };
        if let Err(why) = cut {
            return refused("mprotect", why);
        }
    }
    println!("  mprotect: no limit");
}

/// Forks children that sleep, until the kernel refuses.
fn forks() {
    let mut children = 0;
    loop {
        match process::fork() {
            Ok(Some(_)) => children += 1,
            Ok(None) => sleep_for_ever(),
            Err(why) => {
                refused("fork", why);
                break;
            }
        }
    }
    if children < 10 {
        println!("  only {children} children");
    }
    end_children();
}

fn sleep_for_ever() -> ! {
    loop {
        // SAFETY: touches no memory.
        let _ = unsafe { syscall(PAUSE, [0; 6]) };
    }
}

/// Ends all processes but init and this one, and waits for the children.
pub(crate) fn end_children() {
    let _ = process::kill(Pid(-1), SIGKILL);
    while process::wait_any().is_ok() {}
}

/// Starts threads that sleep, until the kernel refuses.
fn threads() {
    loop {
        match thread::spawn(|| sleep_for_ever()) {
            Ok(thread) => core::mem::forget(thread),
            Err(why) => return refused("clone", why),
        }
    }
}

/// Duplicates a descriptor until the kernel refuses.
fn descriptors() {
    loop {
        if let Err(why) = user::file::STDOUT.dup() {
            return refused("dup", why);
        }
    }
}

/// One argument of a megabyte.
fn long_arguments() {
    let len = 1 << 20;
    let Ok(string) = memory::map(len, Protection::READ_WRITE) else { return };
    // SAFETY: just mapped; the last byte stays the NUL.
    unsafe { string.write_bytes(b'x', len - 1) };
    let arguments = [string as usize, 0];
    refused("execve", exec(c"/bin/true", arguments.as_ptr() as usize));
}

/// A million arguments.
fn many_arguments() {
    let count = 1 << 20;
    let Ok(vector) = memory::map((count + 1) * 8, Protection::READ_WRITE) else { return };
    let vector = vector.cast::<usize>();
    for n in 0..count {
        // SAFETY: inside the mapping.
        unsafe { vector.add(n).write(c"x".as_ptr() as usize) };
    }
    refused("execve", exec(c"/bin/true", vector as usize));
}

/// Argument vectors at bad addresses.
fn wild_arguments() {
    for vector in [8, usize::MAX - 7, 0xc000_0000_0040_0000, (1 << 52) - 8] {
        refused("execve", exec(c"/bin/true", vector));
    }
    let unterminated = [c"x".as_ptr() as usize, usize::MAX];
    refused("execve", exec(c"/bin/true", unterminated.as_ptr() as usize));
}

/// execve with any vector.
pub(crate) fn exec(path: &CStr, arguments: usize) -> Errno {
    // SAFETY: the kernel refuses bad addresses; after success nothing of
    // this program is left.
    match unsafe { syscall(EXECVE, [path.as_ptr() as usize, arguments, 0, 0, 0, 0]) } {
        Ok(_) => unreachable!("execve came back"),
        Err(why) => why,
    }
}

/// Numbers of calls that no library function makes.
pub(crate) const WRITE: usize = 4;
pub(crate) const UNLINK: usize = 10;
pub(crate) const EXECVE: usize = 11;
pub(crate) const LSEEK: usize = 19;
pub(crate) const PAUSE: usize = 29;
pub(crate) const MKDIR: usize = 39;
pub(crate) const RMDIR: usize = 40;
pub(crate) const MMAP: usize = 90;
pub(crate) const FTRUNCATE: usize = 93;
pub(crate) const OPENAT: usize = 286;
