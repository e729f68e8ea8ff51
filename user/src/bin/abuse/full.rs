//! Deeds while memory is full: a file takes all memory until write fails, and is
//! removed afterwards.

use core::ffi::CStr;
use core::fmt::Write;

use user::file::{self, Fd};
use user::memory::{self, Protection};
use user::process;
use user::sys::syscall;
use user::{Errno, println};

use crate::deeds::{FTRUNCATE, LSEEK, MKDIR, OPENAT, RMDIR, UNLINK, WRITE, exec as try_exec, refused};

const FILLER: &CStr = c"/filler";
const CREATE_WRITE: usize = 0o101;
const AT_FDCWD: usize = -100_isize as usize;

/// Pages left for the deed itself: its stack, its page tables.
const SPARE_PAGES: usize = 32;

/// A file that takes all memory but a little, until it is dropped.
struct Full(Fd);

fn create(path: &CStr) -> Result<Fd, Errno> {
    // SAFETY: the path is a live string.
    unsafe { syscall(OPENAT, [AT_FDCWD, path.as_ptr() as usize, CREATE_WRITE, 0o600, 0, 0]) }
        .map(|fd| Fd(fd as i32))
}

fn unlink(path: &CStr) {
    // SAFETY: the path is a live string.
    let _ = unsafe { syscall(UNLINK, [path.as_ptr() as usize, 0, 0, 0, 0, 0]) };
}

impl Full {
    fn new() -> Option<Self> {
        static BYTES: [u8; 16 << 10] = [b'f'; 16 << 10];
        let file = create(FILLER).map_err(|why| refused("open", why)).ok()?;
        // Large pieces first, then pages, at last single bytes.
        for len in [BYTES.len(), memory::PAGE, 1] {
            // SAFETY: the kernel only reads.
            let write =
                || unsafe { syscall(WRITE, [file.0 as usize, BYTES.as_ptr() as usize, len, 0, 0, 0]) };
            while write().is_ok_and(|written| written == len) {}
        }
        // SAFETY: touches no memory.
        let end = unsafe { syscall(LSEEK, [file.0 as usize, 0, 2, 0, 0, 0]) }.unwrap_or(0);
        let shorter = end.saturating_sub(SPARE_PAGES * memory::PAGE);
        // SAFETY: touches no memory.
        let _ = unsafe { syscall(FTRUNCATE, [file.0 as usize, shorter, 0, 0, 0, 0]) };
        Some(Self(file))
    }
}

impl Drop for Full {
    fn drop(&mut self) {
        let _ = self.0.close();
        unlink(FILLER);
    }
}

/// fork fails, or its child is killed; forks that work are repeated.
pub(crate) fn fork() {
    let Some(_full) = Full::new() else { return };
    let mut why = None;
    for _ in 0..100 {
        match process::spawn(|| 0).and_then(process::wait) {
            Ok(_) => {}
            Err(error) => {
                why = Some(error);
                break;
            }
        }
    }
    match why {
        Some(why) => refused("fork", why),
        None => println!("  fork: works"),
    }
}

/// exec fails, and the old program goes on; or the new one runs or is killed.
pub(crate) fn exec() {
    let arguments = [c"true".as_ptr() as usize, 0];
    in_child(|| {
        refused("execve", try_exec(c"/bin/true", arguments.as_ptr() as usize));
        0
    });
}

/// A page fault has no page: the process that touches new memory is killed.
pub(crate) fn touch() {
    const BYTES: usize = 16 << 20;
    let Ok(start) = memory::map(BYTES, Protection::READ_WRITE) else { return };
    in_child(|| {
        for offset in (0..BYTES).step_by(memory::PAGE) {
            // SAFETY: our own memory.
            unsafe { start.add(offset).write_volatile(1) };
        }
        0
    });
}

/// Runs `work` in a child that was made before memory was full, and prints how
/// the child ended.
fn in_child(work: impl FnOnce() -> i32) {
    let Ok((wait, go)) = file::pipe() else { return };
    let child = process::spawn(|| {
        let _ = go.close();
        // Ends when the parent closes its end.
        let _ = wait.read(&mut [0]);
        work()
    });
    let Ok(child) = child else { return };
    let Some(_full) = Full::new() else { return };
    let _ = go.close();
    match process::wait(child) {
        Ok(status) => println!("  child: {status}"),
        Err(why) => refused("wait", why),
    }
}

/// clone has no stack for a thread.
pub(crate) fn thread() {
    let Some(_full) = Full::new() else { return };
    loop {
        match user::thread::spawn(|| ()) {
            Ok(thread) => core::mem::forget(thread),
            Err(why) => return refused("clone", why),
        }
    }
}

/// A path `/NUMBER`, as a C string.
struct Path([u8; 24], usize);

impl Path {
    fn new(number: u64) -> Self {
        let mut path = Path([0; 24], 0);
        let _ = write!(path, "/{number}");
        path
    }

    fn address(&self) -> usize {
        self.0.as_ptr() as usize
    }
}

impl Write for Path {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        let room = self.0.get_mut(self.1..self.1 + text.len()).ok_or(core::fmt::Error)?;
        room.copy_from_slice(text.as_bytes());
        self.1 += text.len();
        Ok(())
    }
}

/// Makes directories while memory is full of them; then removes them.
pub(crate) fn directories() {
    names("mkdir", |path| {
        // SAFETY: the path is a live string.
        unsafe { syscall(MKDIR, [path, 0o700, 0, 0, 0, 0]) }
    });
}

/// Makes empty files without end; then removes them.
pub(crate) fn files() {
    names("open", |path| {
        // SAFETY: the path is a live string.
        let fd = unsafe { syscall(OPENAT, [AT_FDCWD, path, CREATE_WRITE, 0o600, 0, 0]) }?;
        Fd(fd as i32).close()?;
        Ok(0)
    });
}

/// Uses up the kernel's heap with names: a file takes the memory first.
fn names(what: &str, make: impl Fn(usize) -> Result<usize, Errno>) {
    let full = Full::new();
    let mut made = 0;
    let why = loop {
        match make(Path::new(made).address()) {
            Ok(_) => made += 1,
            Err(why) => break why,
        }
    };
    refused(what, why);
    drop(full);
    for number in 0..made {
        let path = Path::new(number);
        for call in [UNLINK, RMDIR] {
            // SAFETY: the path is a live string.
            let _ = unsafe { syscall(call, [path.address(), 0, 0, 0, 0, 0]) };
        }
    }
}
