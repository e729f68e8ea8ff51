//! mprotect: errors half-way, and areas that are cut and joined.

use user::memory::{PAGE, poke};
use user::verdict::on_foreign_kernel;
use user::{Verdict, ensure};

use super::calls::*;

/// Fails unless a store to `address` is possible, or is not.
fn stores(what: &str, address: usize, may: bool) -> Verdict {
    ensure!(may_store(address) == may, "{what}: stores are {}possible", if may { "im" } else { "" });
    Ok(())
}

pub(crate) fn check() -> Verdict {
    arguments()?;
    holes()?;
    closed_file()?;
    cut_and_joined()
}

fn arguments() -> Verdict {
    let at = island(1);
    let protect = |what, args: [usize; 3], expected| answers(what, MPROTECT, &args, expected);
    protect("unaligned", [at + 1, PAGE, READ], EINVAL)?;
    protect("a hole", [at + PAGE, PAGE, READ], ENOMEM)?;
    // qemu-ppc64 looks at the pages first, and ends where sums wrap.
    if !on_foreign_kernel() {
        protect("nothing", [at, 0, READ], 0)?;
        protect("a length that wraps", [at, usize::MAX, READ], ENOMEM)?;
        protect("an end that wraps", [at, usize::MAX - at, READ], ENOMEM)?;
        protect("nothing, nowhere", [PAGE, 0, READ], 0)?;
        protect("an odd protection", [at, PAGE, 0x40], EINVAL)?;
        protect("a stack that grows upwards", [at, PAGE, READ | 0x200_0000], EINVAL)?;
        protect("a stack that is none", [at, PAGE, READ | 0x100_0000], EINVAL)?;
    }
    stores("after errors", at, true)?;
    answers("munmap", MUNMAP, &[at, PAGE], 0)
}

/// Pages before a hole are changed, pages behind it are not.
fn holes() -> Verdict {
    let at = island(4);
    answers("munmap", MUNMAP, &[at + 2 * PAGE, PAGE], 0)?;
    for page in [0, 1, 3] {
        // SAFETY: mapped, and nothing refers to it.
        unsafe { poke(at + page * PAGE, 5) };
    }
    answers("over a hole", MPROTECT, &[at, 4 * PAGE, READ], ENOMEM)?;
    if !on_foreign_kernel() {
        stores("the page before the hole", at, false)?;
        stores("the second page before the hole", at + PAGE, false)?;
    }
    stores("the page behind the hole", at + 3 * PAGE, true)?;
    answers("from a hole", MPROTECT, &[at + 2 * PAGE, 2 * PAGE, NONE], ENOMEM)?;
    stores("the page behind it", at + 3 * PAGE, true)?;
    answers("munmap", MUNMAP, &[at, 4 * PAGE], 0)
}

/// [`holes`], where the obstacle is a shared page of a file that is only read.
fn closed_file() -> Verdict {
    const PATH: &str = "/tmp/memcalls-closed\0";
    let fd = new_file(PATH, PAGE, 1);
    call(CLOSE, &[fd]);
    let fd = call(OPEN, &[PATH.as_ptr() as usize, 0, 0]) as usize;
    let at = island(3);
    answers("mprotect", MPROTECT, &[at, 3 * PAGE, READ], 0)?;
    let answer = call(MMAP, &[at + PAGE, PAGE, READ, SHARED | FIXED, fd, 0]);
    ensure!(answer == (at + PAGE) as isize, "a file between zeroes: {answer}");
    answers("over a closed file", MPROTECT, &[at, 3 * PAGE, READ_WRITE], EACCES)?;
    if !on_foreign_kernel() {
        stores("the page before the file", at, true)?;
    }
    stores("the page of the file", at + PAGE, false)?;
    stores("the page behind the file", at + 2 * PAGE, false)?;
    answers("munmap", MUNMAP, &[at, 3 * PAGE], 0)?;
    call(CLOSE, &[fd]);
    answers("unlink", UNLINK, &[PATH.as_ptr() as usize], 0)
}

/// Random protections, on ranges of all sizes, against a list of the pages'
/// protections.
fn cut_and_joined() -> Verdict {
    const PAGES: usize = 8;
    let at = island(PAGES);
    let mut writable = [true; PAGES];
    for (start, end, may) in
        [(2, 5, false), (3, 4, true), (0, 3, false), (4, 8, true), (1, 7, false), (0, 8, true), (7, 8, false)]
    {
        let prot = if may { READ_WRITE } else { READ };
        answers("mprotect", MPROTECT, &[at + start * PAGE, (end - start) * PAGE, prot], 0)?;
        writable[start..end].fill(may);
        for page in [start.saturating_sub(1), start, end - 1, end.min(PAGES - 1)] {
            stores("a page among others", at + page * PAGE, writable[page])?;
        }
    }
    answers("munmap", MUNMAP, &[at, PAGES * PAGE], 0)
}
