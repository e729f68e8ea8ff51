//! Calls that make something when the kernel has no memory for it: each says so, none takes the
//! kernel down, and all is well once the memory is back.
//!
//! A file takes all frames, directories take what the heap has left, and then each call is made
//! until it fails. The one right failure is the one for want of memory.
#![no_std]
#![no_main]

extern crate alloc;

use user::memory::{self, PAGE, Protection, peek, poke};
use user::process;
use user::sys::answer;
use user::{Context, Env, Verdict, ensure};

user::main!(main);

const ENOMEM: isize = -12;
const ENOSPC: isize = -28;

const FORK: usize = 2;
const WRITE: usize = 4;
const CLOSE: usize = 6;
const CREAT: usize = 8;
const LINK: usize = 9;
const UNLINK: usize = 10;
const EXECVE: usize = 11;
const RENAME: usize = 38;
const MKDIR: usize = 39;
const RMDIR: usize = 40;
const SYMLINK: usize = 83;
const MMAP: usize = 90;
const IPC: usize = 117;
const SELECT: usize = 142;
const READV: usize = 145;
const MREMAP: usize = 163;
const POLL: usize = 167;
const EVENTFD2: usize = 314;
const PIPE2: usize = 317;
const PRLIMIT: usize = 325;
const SOCKETPAIR: usize = 333;

const NOFILE: usize = 7;
const SHMGET: usize = 23;
/// More than the memory that is left has room for.
const MOST: u32 = 50_000;

/// Makes the call; the memory that it is given is the caller's.
fn call(nr: usize, args: &[usize]) -> isize {
    // SAFETY: memory that is passed by address lives during the call, and nothing else changes it
    // or relies on it.
    unsafe { answer(nr, args) }
}

/// A path that no other number has, with its zero byte.
struct Name([u8; 12]);

impl Name {
    fn new(kind: u8, number: u32) -> Self {
        let mut name = *b"/x_00000000\0";
        name[1] = kind;
        let mut rest = number;
        for digit in name[3..11].iter_mut().rev() {
            *digit += (rest % 10) as u8;
            rest /= 10;
        }
        Self(name)
    }

    fn at(&self) -> usize {
        self.0.as_ptr() as usize
    }
}

/// Makes calls until one fails; the number of those that did not, and the failure.
fn until_it_fails(mut one: impl FnMut(u32) -> isize) -> (u32, isize) {
    for number in 0..MOST {
        let result = one(number);
        if result < 0 {
            return (number, result);
        }
    }
    (MOST, 0)
}

fn refused(what: &str, wanted: isize, one: impl FnMut(u32) -> isize) -> Verdict {
    let (made, failure) = until_it_fails(one);
    ensure!(failure == wanted, "{what}: {failure} after {made} calls, not {wanted}");
    Ok(())
}

/// The call needs as much room as one that was refused before.
fn refused_at_once(what: &str, mut one: impl FnMut(u32) -> isize) -> Verdict {
    let result = one(0);
    ensure!(result == ENOMEM, "{what}: {result}, not {ENOMEM}");
    Ok(())
}

/// Memory that the calls use: no page of it is touched for the first time without memory.
struct Prepared {
    bytes: [u8; PAGE],
    vectors: [[usize; 2]; 1024],
    polled: [u64; 4096],
    /// A page of a mapping of its own.
    lone: usize,
}

/// Touches what later calls use, and what the words of a failure need: text, stack and heap.
#[inline(never)]
fn deepen() {
    // The second program header: behind the file's header and the first one.
    let text = (0x1000_0000 + 64 + 56) as *const [u64; 7];
    // SAFETY: user/user.ld puts the headers there, and nobody writes them.
    let [_, _, start, _, _, len, _] = unsafe { text.read() }.map(|word| word as usize);
    (start..start + len).step_by(PAGE).for_each(|page| _ = peek(page));
    _ = peek(start + len - 1);
    core::hint::black_box(&mut [1_u8; 16 * PAGE]);
    core::hint::black_box(&mut alloc::vec![1_u8; 16 * PAGE]);
}

fn main(_: &Env) -> Verdict {
    deepen();
    let mut room = Prepared {
        bytes: [1; PAGE],
        vectors: [[0; 2]; 1024],
        polled: [u64::MAX << 32; 4096],
        lone: memory::map(PAGE, Protection::READ_WRITE).context("mmap")? as usize,
    };
    // SAFETY: the page is new and ours.
    unsafe { poke(room.lone, 1) };
    let buffer = room.bytes.as_mut_ptr() as usize;
    room.vectors.fill([buffer, 1]);
    let many = [1_u64 << 16; 2];
    ensure!(call(PRLIMIT, &[0, NOFILE, many.as_ptr() as usize, 0]) == 0, "the limit of descriptors");
    let (file, moved) = (Name::new(b'f', 0), Name::new(b'f', 1));
    let fd = call(CREAT, &[file.at(), 0o600]);
    ensure!(fd >= 0, "creat: {fd}");
    let all = starve(fd as usize, &room, [&file, &moved]);
    // Every descriptor but the first three, and every name.
    (3..1 << 16).take_while(|&fd| call(CLOSE, &[fd]) == 0).for_each(drop);
    for name in [file, moved] {
        call(UNLINK, &[name.at()]);
    }
    for number in 0..MOST {
        let gone = [(b'd', RMDIR), (b's', UNLINK), (b'l', UNLINK), (b'c', UNLINK)]
            .map(|(kind, nr)| call(nr, &[Name::new(kind, number).at()]) == 0);
        if gone == [false; 4] {
            break;
        }
    }
    all?;
    let pid = process::spawn(|| 0).context("fork with memory")?;
    process::wait(pid).context("wait").map(drop)
}

fn starve(fd: usize, room: &Prepared, [file, moved]: [&Name; 2]) -> Verdict {
    let buffer = room.bytes.as_ptr() as usize;
    refused("write", ENOSPC, |_| call(WRITE, &[fd, buffer, PAGE]))?;
    // Only the page tables of the new place are missing: the heap has room.
    refused_at_once("mremap", |_| call(MREMAP, &[room.lone, PAGE, PAGE, 3, room.lone ^ 1 << 46]))?;
    // The names need the most room, so what is left does not suffice for one of them.
    refused("mkdir", ENOMEM, |n| call(MKDIR, &[Name::new(b'd', n).at(), 0o700]))?;
    refused_at_once("symlink", |n| call(SYMLINK, &[file.at(), Name::new(b's', n).at()]))?;
    refused_at_once("link", |n| call(LINK, &[file.at(), Name::new(b'l', n).at()]))?;
    refused_at_once("creat", |n| call(CREAT, &[Name::new(b'c', n).at(), 0o600]))?;
    refused_at_once("rename", |_| call(RENAME, &[file.at(), moved.at()]))?;
    refused_at_once("fork", |_| call(FORK, &[]))?;
    refused_at_once("execve", |_| call(EXECVE, &[c"/bin/true".as_ptr() as usize, 0, 0]))?;
    refused_at_once("poll", |_| call(POLL, &[room.polled.as_ptr() as usize, room.polled.len(), 0]))?;
    // From here on a call needs as much as a pipe, or more.
    let mut pair = [0_u32; 2];
    let pair = pair.as_mut_ptr() as usize;
    refused("pipe2", ENOMEM, |_| call(PIPE2, &[pair, 0]))?;
    refused_at_once("shmget", |_| call(IPC, &[SHMGET, 0, PAGE, 0o1600]))?;
    refused_at_once("socketpair", |_| call(SOCKETPAIR, &[1, 1, 0, pair]))?;
    refused_at_once("eventfd2", |_| call(EVENTFD2, &[0, 0]))?;
    let set = room.polled.as_ptr() as usize;
    refused_at_once("select", |_| call(SELECT, &[1 << 16, set, set, set, 0]))?;
    refused_at_once("readv", |_| call(READV, &[fd, room.vectors.as_ptr() as usize, room.vectors.len()]))?;
    // Neighbours of other protections do not become one.
    refused("mmap", ENOMEM, |n| call(MMAP, &[0, PAGE, 1 + 2 * (n as usize % 2), 0x22, usize::MAX, 0]))
}
