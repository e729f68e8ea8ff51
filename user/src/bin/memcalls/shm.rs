//! System V shared memory.

use user::memory::{PAGE, peek, poke};
use user::process::{self, SIGSEGV, Status};
use user::verdict::{child_ends, on_foreign_kernel};
use user::{Context, Verdict, ensure};

use super::calls::*;

const CREAT: usize = 0o1000;
const EXCL: usize = 0o2000;
const RDONLY: usize = 0o10000;
const RND: usize = 0o20000;
const REMAP: usize = 0o40000;
const RMID: usize = 0;
const SET: usize = 1;
const STAT: usize = 2;
const KEY: usize = 0x5eed;

pub(crate) fn check() -> Verdict {
    // qemu-ppc64 needs a host with segments, and knows other errors.
    if on_foreign_kernel() {
        return Ok(());
    }
    keys()?;
    two_addresses()?;
    places()?;
    attaches()?;
    pieces()?;
    most()
}

fn get(key: usize, bytes: usize, flags: usize) -> isize {
    call(IPC, &[23, key, bytes, flags | 0o600])
}

fn attach(id: usize, address: usize, flags: usize) -> isize {
    let mut at = 0_usize;
    match call(IPC, &[21, id, flags, &raw mut at as usize, address]) {
        0 => at as isize,
        error => error,
    }
}

fn detach(address: usize) -> isize {
    call(IPC, &[22, 0, 0, 0, address])
}

fn control(id: usize, command: usize, to: usize) -> isize {
    call(IPC, &[24, id, command | 0x100, 0, to])
}

/// The words of `struct shmid64_ds`.
fn stat(id: usize) -> Result<[usize; 14], alloc::string::String> {
    let mut words = [usize::MAX; 14];
    let answer = control(id, STAT, words.as_mut_ptr() as usize);
    ensure!(answer == 0, "IPC_STAT: {answer}");
    Ok(words)
}

/// How many attachments it has.
fn attached(id: usize) -> Result<usize, alloc::string::String> {
    stat(id).map(|words| words[11])
}

fn remove(id: usize) -> Verdict {
    let answer = control(id, RMID, 0);
    ensure!(answer == 0, "IPC_RMID: {answer}");
    Ok(())
}

fn keys() -> Verdict {
    ensure!(get(KEY, PAGE, 0) == ENOENT, "a key that nobody made");
    ensure!(get(KEY, 0, CREAT) == EINVAL, "a segment of nothing");
    ensure!(get(KEY, usize::MAX, CREAT) == EINVAL, "a segment of all");
    let id = get(KEY, 5000, CREAT | EXCL);
    ensure!(id >= 0, "shmget: {id}");
    ensure!(get(KEY, 5000, CREAT | EXCL) == EEXIST, "a key made twice");
    ensure!(get(KEY, 5000, CREAT) == id && get(KEY, 100, 0) == id, "a key has two segments");
    ensure!(get(KEY, 5001, 0) == EINVAL, "a segment that is too small");
    let private = get(0, PAGE, 0);
    ensure!(private >= 0 && private != id && get(0, PAGE, CREAT) != private, "private segments are one");
    let words = stat(id as usize)?;
    ensure!(words[0] == KEY << 32 && words[9] == 5000, "key and size: {words:x?}");
    ensure!(words[2] == 0o600, "the mode: {:o}", words[2]);
    ensure!(words[10] == (process::getpid().0 as usize) << 32, "creator and last user: {:x}", words[10]);
    ensure!(words[3..6] == [0; 3] && words[12..] == [0; 2], "reserved words: {words:x?}");
    let mut set = words;
    (set[0], set[1], set[2]) = (7, 8 << 32, 0o640);
    ensure!(control(id as usize, SET, set.as_ptr() as usize) == 0, "IPC_SET");
    let after = stat(id as usize)?;
    ensure!(after[..3] == [KEY << 32 | 7, 8 << 32, 0o640], "what IPC_SET set: {after:x?}");
    remove(id as usize)?;
    ensure!(get(KEY, PAGE, 0) == ENOENT, "the key of a segment that is gone");
    ensure!(control(id as usize, STAT, set.as_mut_ptr() as usize) == EINVAL, "a segment that is gone");
    ensure!(control(id as usize, RMID, 0) == EINVAL, "a segment that is gone twice");
    ensure!(attach(id as usize, 0, 0) == EINVAL, "a segment that is gone, attached");
    ensure!(control(private as usize, 99, 0) == EINVAL, "an odd command");
    ensure!(call(IPC, &[2, 0, 0, 0, 0]) == -38, "semaphores");
    remove(private as usize)?;
    // Also the segment that only served to make the ids differ.
    (0..=private as usize + 1).filter(|&id| stat(id).is_ok()).try_for_each(remove)
}

fn two_addresses() -> Verdict {
    let id = get(0, 3 * PAGE, 0) as usize;
    let (first, second) = (attach(id, 0, 0) as usize, attach(id, 0, RDONLY) as usize);
    ensure!(first as isize > 0 && second as isize > 0 && first != second, "a segment at two addresses");
    // SAFETY: mapped here, and nothing refers to it.
    unsafe { poke(first + PAGE, 5) };
    ensure!(peek(second + PAGE) == 5, "a store at one address does not show at the other");
    child_ends("a store to a read-only attachment", Status::signal(SIGSEGV), || {
        // SAFETY: in a child of its own.
        unsafe { poke(second, 1) };
        0
    })?;
    answers("which stays read-only", MPROTECT, &[second, PAGE, READ_WRITE], EACCES)?;
    // A child's stores are seen by all; its attachments end with it.
    child_ends("a child that stores", Status::exit(0), || {
        // SAFETY: a byte of the segment, to which no reference leads.
        unsafe { poke(first, 6) };
        i32::from(attached(id) != Ok(4))
    })?;
    ensure!(peek(second) == 6, "a child's store does not show");
    ensure!(attached(id)? == 2, "{} attachments of two after a child's end", attached(id)?);
    ensure!(detach(first) == 0 && detach(second) == 0, "shmdt");
    ensure!(attached(id)? == 0, "attachments after shmdt");
    let again = attach(id, 0, 0) as usize;
    ensure!(peek(again) == 6 && peek(again + PAGE) == 5, "a segment lost its contents");
    ensure!(detach(again) == 0, "shmdt");
    remove(id)
}

fn places() -> Verdict {
    let id = get(0, 2 * PAGE, 0) as usize;
    let at = island(4);
    ensure!(attach(id, at + PAGE, 0) == EINVAL, "a place that is taken");
    ensure!(attach(id, at - PAGE, 0) == EINVAL, "a place whose end is taken");
    ensure!(attach(id, at + 5, REMAP) == EINVAL, "an odd place");
    ensure!(attach(id, 0, REMAP) == EINVAL, "to replace nothing");
    ensure!(attach(id, usize::MAX & !(PAGE - 1), 0) == EINVAL, "a place that wraps");
    ensure!(
        attach(id, at + PAGE + 5, RND | REMAP) == (at + PAGE) as isize,
        "a place rounded down, and replaced"
    );
    ensure!(attach(id, at + 4 * PAGE, 0) == (at + 4 * PAGE) as isize, "a free place");
    ensure!(detach(at) == EINVAL && detach(at + PAGE + 8) == EINVAL, "shmdt of something else");
    ensure!(detach(at + 2 * PAGE) == EINVAL, "shmdt of the second page");
    ensure!(detach(at + PAGE) == 0 && detach(at + PAGE) == EINVAL, "shmdt twice");
    ensure!(detach(at + 4 * PAGE) == 0, "shmdt");
    answers("munmap", MUNMAP, &[at, 4 * PAGE], 0)?;
    remove(id)
}

/// Removal waits for the last detach: by exit, by exec, by munmap.
fn attaches() -> Verdict {
    let id = get(KEY, PAGE, CREAT) as usize;
    let at = attach(id, 0, 0) as usize;
    // SAFETY: mapped here.
    unsafe { poke(at, 9) };
    remove(id)?;
    ensure!(get(KEY, PAGE, 0) == ENOENT, "the key of a removed segment");
    let words = stat(id)?;
    ensure!(words[0] == 0 && words[2] == 0o1600 && words[11] == 1, "a removed segment: {words:x?}");
    let twice = attach(id, 0, 0) as usize;
    ensure!(peek(twice) == 9, "a removed segment attached again");
    let child = process::spawn(|| {
        process::exec(c"/bin/true", &[c"true"], &[]);
        1
    });
    let status = process::wait(child.context("fork")?).context("wait")?;
    ensure!(status.success(), "a child that execs: {status}");
    ensure!(attached(id)? == 2, "{} attachments after a child's exec and end", attached(id)?);
    answers("munmap", MUNMAP, &[twice, PAGE], 0)?;
    ensure!(attached(id)? == 1 && peek(at) == 9, "a removed segment after one munmap");
    ensure!(detach(at) == 0, "the last shmdt");
    ensure!(stat(id).is_err(), "a removed segment after its last detach");
    Ok(())
}

/// The pieces of an attachment are detached together.
fn pieces() -> Verdict {
    let id = get(0, 5 * PAGE, 0) as usize;
    let at = attach(id, 0, 0) as usize;
    answers("mprotect", MPROTECT, &[at + PAGE, PAGE, READ], 0)?;
    answers("munmap", MUNMAP, &[at + 3 * PAGE, PAGE], 0)?;
    ensure!(attached(id)? == 4, "{} pieces of four", attached(id)?);
    answers("munmap of the first", MUNMAP, &[at, PAGE], 0)?;
    ensure!(detach(at) == 0 && attached(id)? == 0, "shmdt of the pieces");
    remove(id)
}

/// There are 4096 segments at most, as in Linux.
fn most() -> Verdict {
    const ENOSPC: isize = -28;
    let mut ids = alloc::vec::Vec::new();
    let refused = loop {
        match get(0, 1, 0) {
            id if id >= 0 => ids.push(id as usize),
            error => break error,
        }
    };
    let made = ids.len();
    ids.into_iter().try_for_each(remove)?;
    ensure!(refused == ENOSPC && made == 4096, "{refused} after {made} segments");
    Ok(())
}
