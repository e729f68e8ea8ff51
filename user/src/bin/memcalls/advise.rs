//! madvise, msync, mincore and the mlock family.

use user::memory::{PAGE, peek, poke};
use user::verdict::on_foreign_kernel;
use user::{Verdict, ensure};

use super::calls::*;

const DONTNEED: usize = 4;
const FREE: usize = 8;
const POPULATE_READ: usize = 22;
const POPULATE_WRITE: usize = 23;
const HINTS: [usize; 4] = [0, 1, 2, 3];

pub(crate) fn check() -> Verdict {
    // qemu-ppc64 lets most of it through unchecked.
    if !on_foreign_kernel() {
        advice()?;
        populate()?;
        residence()?;
        locks()?;
    }
    syncs()
}

fn advice() -> Verdict {
    let at = island(4);
    answers("munmap", MUNMAP, &[at + 2 * PAGE, PAGE], 0)?;
    for advice in HINTS.into_iter().chain([DONTNEED]) {
        let advise = |what, start, len, expected| answers(what, MADVISE, &[start, len, advice], expected);
        advise("unaligned", at + 1, PAGE, EINVAL)?;
        advise("nothing", at, 0, 0)?;
        advise("nothing, nowhere", PAGE, 0, 0)?;
        advise("a length that wraps", at, usize::MAX, EINVAL)?;
        advise("an end that wraps", at, usize::MAX - at, EINVAL)?;
        advise("over a hole", at, 4 * PAGE, ENOMEM)?;
        // Not DONTNEED, which would drop the stack too.
        if advice != DONTNEED {
            advise("to beyond all", at, 1 << 60, ENOMEM)?;
        }
        advise("from a hole", at + 2 * PAGE, PAGE, ENOMEM)?;
        advise("a part of a page", at, 2 * PAGE - 5, 0)?;
    }
    for unknown in [5, 6, 7, 26, 99, usize::MAX] {
        answers("unknown advice", MADVISE, &[at, PAGE, unknown], EINVAL)?;
    }
    // Both sides of the hole are dropped, and the pages that the range
    // covers only partly.
    for page in [0, 1, 3] {
        // SAFETY: mapped, and nothing refers to it.
        unsafe { poke(at + page * PAGE, 5) };
    }
    answers("DONTNEED over a hole", MADVISE, &[at + PAGE, 2 * PAGE + 1, DONTNEED], ENOMEM)?;
    ensure!([0, 1, 3].map(|page| peek(at + page * PAGE)) == [5, 0, 0], "DONTNEED forgot something else");
    let shared =
        call(MMAP, &[at + 2 * PAGE, PAGE, READ_WRITE, SHARED | ANONYMOUS | FIXED, usize::MAX, 0]) as usize;
    // SAFETY: mapped, and nothing refers to it.
    unsafe { poke(shared, 6) };
    answers("DONTNEED of shared memory", MADVISE, &[shared, PAGE, DONTNEED], 0)?;
    ensure!(peek(shared) == 6, "DONTNEED forgot what others share");
    answers("FREE of shared memory", MADVISE, &[shared, PAGE, FREE], EINVAL)?;
    answers("FREE", MADVISE, &[at, PAGE, FREE], 0)?;
    answers("munmap", MUNMAP, &[at, 4 * PAGE], 0)
}

/// The pages of `pages` from `at` on that are in memory.
fn resident(at: usize, pages: usize) -> Result<[bool; 8], alloc::string::String> {
    let mut answer = [0xa4_u8; 8];
    answers("mincore", MINCORE, &[at, pages * PAGE, answer.as_mut_ptr() as usize], 0)?;
    ensure!(answer[pages..].iter().all(|&byte| byte == 0xa4), "mincore wrote too much");
    ensure!(answer[..pages].iter().all(|&byte| byte < 2), "mincore: {answer:x?}");
    Ok(answer.map(|byte| byte == 1))
}

fn populate() -> Verdict {
    let at = island(6);
    answers("munmap", MUNMAP, &[at + 4 * PAGE, PAGE], 0)?;
    answers("mprotect", MPROTECT, &[at + 2 * PAGE, PAGE, READ], 0)?;
    let populate = |what, start, len, how, expected| answers(what, MADVISE, &[start, len, how], expected);
    populate("populate to be written", at, 2 * PAGE, POPULATE_WRITE, 0)?;
    ensure!(resident(at, 4)?[..4] == [true, true, false, false], "pages that were populated");
    populate("populate what is read-only", at + PAGE, 2 * PAGE, POPULATE_WRITE, EINVAL)?;
    populate("populate it to be read", at + 2 * PAGE, 2 * PAGE, POPULATE_READ, 0)?;
    ensure!(resident(at, 4)?[..4] == [true; 4], "pages that were populated to be read");
    populate("populate a hole", at + 3 * PAGE, 3 * PAGE, POPULATE_READ, ENOMEM)?;
    populate("populate to beyond all", at, 1 << 60, POPULATE_READ, ENOMEM)?;
    answers("munmap", MUNMAP, &[at, 6 * PAGE], 0)
}

fn residence() -> Verdict {
    let at = island(6);
    for page in [1, 4] {
        // SAFETY: mapped, and nothing refers to it.
        unsafe { poke(at + page * PAGE, 1) };
    }
    ensure!(resident(at, 6)?[..6] == [false, true, false, false, true, false], "pages that were touched");
    let byte = &raw const at as usize;
    let mincore = |what, args: [usize; 3], expected| answers(what, MINCORE, &args, expected);
    mincore("unaligned", [at + 1, PAGE, byte], EINVAL)?;
    mincore("nothing", [at, 0, byte], 0)?;
    mincore("a hole", [at + 5 * PAGE, 2 * PAGE, byte], ENOMEM)?;
    mincore("beyond all", [at, 1 << 60, byte], ENOMEM)?;
    mincore("a length that wraps", [at, usize::MAX, byte], ENOMEM)?;
    mincore("an answer nowhere", [at, PAGE, 8], EFAULT)?;
    mincore("an answer beyond all", [at, PAGE, 1 << 60], EFAULT)?;
    mincore("of a hole, to beyond all", [at + 6 * PAGE, PAGE, 1 << 60], EFAULT)?;
    answers("munmap", MUNMAP, &[at, 6 * PAGE], 0)
}

fn locks() -> Verdict {
    const CURRENT: usize = 0x2000;
    const ON_FAULT: usize = 0x8000;
    let at = island(4);
    answers("mlock", MLOCK, &[at + 10, PAGE], 0)?;
    ensure!(resident(at, 4)?[..4] == [true, true, false, false], "pages that were locked");
    answers("mlock2 on fault", MLOCK2, &[at, 4 * PAGE, 1], 0)?;
    ensure!(resident(at, 4)?[..4] == [true, true, false, false], "pages that were locked on fault");
    answers("mlock2 with odd flags", MLOCK2, &[at, PAGE, 2], EINVAL)?;
    answers("mprotect", MPROTECT, &[at + 3 * PAGE, PAGE, NONE], 0)?;
    answers("mlock of what is closed", MLOCK, &[at + 3 * PAGE, PAGE], ENOMEM)?;
    for nr in [MLOCK, MUNLOCK, MLOCK2] {
        answers("a hole", nr, &[at + 2 * PAGE, 5 * PAGE], ENOMEM)?;
        answers("an end that wraps", nr, &[at, usize::MAX - at], EINVAL)?;
        answers("nothing", nr, &[at, 0], 0)?;
    }
    answers("munlock", MUNLOCK, &[at, 4 * PAGE], 0)?;
    for flags in [0, ON_FAULT, 1, CURRENT | 1] {
        answers("mlockall with odd flags", MLOCKALL, &[flags], EINVAL)?;
    }
    answers("mlockall", MLOCKALL, &[CURRENT], 0)?;
    ensure!(resident(at, 4)?[..4] == [true, true, true, false], "pages after mlockall");
    answers("munlockall", MUNLOCKALL, &[], 0)?;
    answers("munmap", MUNMAP, &[at, 4 * PAGE], 0)
}

fn syncs() -> Verdict {
    const ASYNC: usize = 1;
    const INVALIDATE: usize = 2;
    const SYNC: usize = 4;
    let at = island(2);
    let sync = |what, args: [usize; 3], expected| answers(what, MSYNC, &args, expected);
    for flags in [0, ASYNC, SYNC, SYNC | INVALIDATE] {
        sync("msync", [at, 2 * PAGE, flags], 0)?;
    }
    sync("a hole", [at, 3 * PAGE, SYNC], ENOMEM)?;
    sync("now and later", [at, PAGE, SYNC | ASYNC], EINVAL)?;
    sync("unaligned", [at + 1, PAGE, SYNC], EINVAL)?;
    sync("odd flags", [at, PAGE, 0x100], EINVAL)?;
    if !on_foreign_kernel() {
        sync("an end that wraps", [at, usize::MAX - at, SYNC], ENOMEM)?;
        sync("nothing", [at, 0, SYNC], 0)?;
    }
    answers("munmap", MUNMAP, &[at, 2 * PAGE], 0)
}
