//! The steps' operations.

use user::memory::PAGE;
use user::process;
use user::sys::syscall;

use crate::control::{Step, control};
use crate::seen::{self, Seen};
use crate::{access, window};

/// The operations, by their numbers in the file.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Op {
    Map,
    Unmap,
    Protect,
    Discard,
    Load,
    Store,
    Call,
    /// The kernel loads from the page: a write(2) out of it.
    KernelLoad,
    /// The kernel stores to the page: a read(2) into it.
    KernelStore,
    Truncate,
    ReadFile,
    WriteFile,
    Fork,
    Exec,
    Exit,
}

const OPS: [Op; 15] = [
    Op::Map,
    Op::Unmap,
    Op::Protect,
    Op::Discard,
    Op::Load,
    Op::Store,
    Op::Call,
    Op::KernelLoad,
    Op::KernelStore,
    Op::Truncate,
    Op::ReadFile,
    Op::WriteFile,
    Op::Fork,
    Op::Exec,
    Op::Exit,
];

/// Numbers of the calls.
mod nr {
    pub(super) const READ: usize = 3;
    pub(super) const WRITE: usize = 4;
    pub(super) const MMAP: usize = 90;
    pub(super) const MUNMAP: usize = 91;
    pub(super) const FTRUNCATE: usize = 93;
    pub(super) const MPROTECT: usize = 125;
    pub(super) const PREAD64: usize = 179;
    pub(super) const PWRITE64: usize = 180;
    pub(super) const MADVISE: usize = 205;
}

const WORD: usize = 8;

impl Op {
    /// The operation of a step.
    pub(crate) fn of(step: &Step) -> Self {
        OPS[usize::from(step.op)]
    }
}

/// Does a step and returns its result. Steps that change processes are done elsewhere,
/// except exec, which returns only if it failed.
pub(crate) fn perform(step: &Step) -> Seen {
    let (start, len) = (window::page(step.page), usize::from(step.count) * PAGE);
    let word = window::word(step.page, step.count);
    let value = seen::word_of(step.value as u8);
    match Op::of(step) {
        Op::Map => map(step, start, len),
        Op::Unmap => call(nr::MUNMAP, [start, len, 0, 0]),
        Op::Protect => call(nr::MPROTECT, [start, len, step.value.into(), 0]),
        Op::Discard => {
            const MADV_DONTNEED: usize = 4;
            call(nr::MADVISE, [start, len, MADV_DONTNEED, 0])
        }
        Op::Load => access::load(word),
        Op::Store => access::store(word, value),
        Op::Call => access::call(word),
        Op::KernelLoad => kernel_load(word),
        Op::KernelStore => kernel_store(word, value),
        Op::Truncate => call(nr::FTRUNCATE, [control().file.0 as usize, step.value.into(), 0, 0]),
        Op::ReadFile => read_file(window::offset(step.page, step.count)),
        Op::WriteFile => {
            let at = window::offset(step.page, step.count);
            one_word(raw(nr::PWRITE64, [control().file.0 as usize, &raw const value as usize, WORD, at]))
        }
        Op::Exec => exec(step),
        Op::Fork | Op::Exit => seen::BAD_END,
    }
}

fn raw(nr: usize, [a, b, c, d]: [usize; 4]) -> Result<usize, user::Errno> {
    // SAFETY: only the window is mapped and unmapped, and it holds no object. Only the
    // window or the caller's own word is read and written.
    unsafe { syscall(nr, [a, b, c, d, 0, 0]) }
}

fn call(nr: usize, args: [usize; 4]) -> Seen {
    seen::done(raw(nr, args))
}

/// The result of a call that must move one word.
fn one_word(result: Result<usize, user::Errno>) -> Seen {
    match result {
        Ok(WORD) => 0,
        Ok(_) => seen::SHORT,
        Err(errno) => seen::ERRNO | errno.0 as Seen,
    }
}

/// The value has the protection in its lowest bits, then the kind of mapping, the page
/// of the file, and whether the pages are to be present at once.
fn map(step: &Step, start: usize, len: usize) -> Seen {
    const SHARED: usize = 1;
    const PRIVATE: usize = 2;
    const FIXED: usize = 0x10;
    const ANONYMOUS: usize = 0x20;
    const POPULATE: usize = 0x8000;
    let (none, file, read_only) = (usize::MAX, control().file.0 as usize, control().read_only.0 as usize);
    let (flags, fd) = match step.value >> 4 & 7 {
        0 => (PRIVATE | ANONYMOUS, none),
        1 => (SHARED | ANONYMOUS, none),
        2 => (PRIVATE, file),
        3 => (SHARED, file),
        4 => (PRIVATE, read_only),
        _ => (SHARED, read_only),
    };
    let populate = if step.value & 0x1000 != 0 { POPULATE } else { 0 };
    let offset = usize::from(step.value >> 8 & 3) * PAGE;
    let args = [start, len, usize::from(step.value & 7), FIXED | flags | populate, fd, offset];
    // SAFETY: the window holds no object.
    match unsafe { syscall(nr::MMAP, args) } {
        Ok(at) if at == start => 0,
        Ok(_) => seen::SHORT,
        Err(errno) => seen::ERRNO | errno.0 as Seen,
    }
}

fn kernel_load(address: usize) -> Seen {
    let mut word = 0_u64;
    match one_word(raw(nr::WRITE, [control().writer.0 as usize, address, WORD, 0])) {
        0 => match one_word(raw(nr::READ, [control().reader.0 as usize, &raw mut word as usize, WORD, 0])) {
            0 => seen::word(word),
            wrong => wrong,
        },
        wrong => wrong,
    }
}

fn kernel_store(address: usize, mut word: u64) -> Seen {
    let reader = control().reader.0 as usize;
    let sent = one_word(raw(nr::WRITE, [control().writer.0 as usize, &raw const word as usize, WORD, 0]));
    if sent != 0 {
        return sent;
    }
    let stored = one_word(raw(nr::READ, [reader, address, WORD, 0]));
    if stored != 0 {
        // The word is still in the pipe.
        let drained = one_word(raw(nr::READ, [reader, &raw mut word as usize, WORD, 0]));
        return if drained == 0 { stored } else { seen::SHORT };
    }
    stored
}

fn read_file(at: usize) -> Seen {
    let mut word = 0_u64;
    match raw(nr::PREAD64, [control().file.0 as usize, &raw mut word as usize, WORD, at]) {
        Ok(0) => seen::END_OF_FILE,
        Ok(WORD) => seen::word(word),
        Ok(_) => seen::SHORT,
        Err(errno) => seen::ERRNO | errno.0 as Seen,
    }
}

/// Executes this program again; it ends the step.
fn exec(step: &Step) -> Seen {
    let process = [b'0' + step.actor.process, 0];
    let process = core::ffi::CStr::from_bytes_with_nul(&process).expect("a digit and a zero");
    let errno = process::exec(crate::PROGRAM, &[crate::PROGRAM, crate::GO_ON, process], &[]);
    seen::ERRNO | errno.0 as Seen
}
