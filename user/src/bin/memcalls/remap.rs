//! mremap: longer, shorter, elsewhere.

use user::memory::{PAGE, peek, poke};
use user::process::{SIGBUS, Status};
use user::verdict::{child_ends, on_foreign_kernel};
use user::{Verdict, ensure};

use super::calls::*;

const MAYMOVE: usize = 1;
const TO: usize = 2;
const DONTUNMAP: usize = 4;

pub(crate) fn check() -> Verdict {
    // qemu-ppc64 checks in another order.
    if !on_foreign_kernel() {
        arguments()?;
    }
    in_place()?;
    moves()?;
    to_a_place()?;
    of_files()
}

fn remap(at: usize, old: usize, new: usize, flags: usize, target: usize) -> isize {
    call(MREMAP, &[at, old * PAGE, new * PAGE, flags, target])
}

/// Writes `mark` and its number to each page.
fn fill(at: usize, pages: usize, mark: u8) {
    for page in 0..pages {
        // SAFETY: mapped by the test, which has no reference to it.
        unsafe { poke(at + page * PAGE, mark + page as u8) };
    }
}

fn has(at: usize, pages: usize, mark: u8) -> bool {
    (0..pages).all(|page| peek(at + page * PAGE) == mark + page as u8)
}

fn gone(what: &str, address: usize) -> Verdict {
    ensure!(!may_load(address), "{what}: a page is there");
    Ok(())
}

fn arguments() -> Verdict {
    let at = island(2);
    let check = |what, args: [usize; 5], expected| answers(what, MREMAP, &args, expected);
    check("odd flags", [at, PAGE, PAGE, 8, 0], EINVAL)?;
    check("a place without a move", [at, PAGE, PAGE, TO, at + 4 * PAGE], EINVAL)?;
    check("unaligned", [at + 1, PAGE, PAGE, 0, 0], EINVAL)?;
    check("no length", [at, PAGE, 0, 0, 0], EINVAL)?;
    check("a hole", [at + 2 * PAGE, PAGE, 2 * PAGE, MAYMOVE, 0], EFAULT)?;
    check("longer than the area", [at, 3 * PAGE, 4 * PAGE, MAYMOVE, 0], EFAULT)?;
    check("a place that is not aligned", [at, PAGE, PAGE, MAYMOVE | TO, at + 8 * PAGE + 1], EINVAL)?;
    check("a place that overlaps", [at, 2 * PAGE, 2 * PAGE, MAYMOVE | TO, at + PAGE], EINVAL)?;
    check("a place that overlaps below", [at, PAGE, 2 * PAGE, MAYMOVE | TO, at - PAGE], EINVAL)?;
    check("private pages twice", [at, 0, PAGE, MAYMOVE, 0], EINVAL)?;
    check("a length that wraps", [at, PAGE, usize::MAX, MAYMOVE, 0], EINVAL)?;
    check("beyond all", [at, PAGE, 1 << 60, MAYMOVE, 0], ENOMEM)?;
    check("a place beyond all", [at, PAGE, PAGE, MAYMOVE | TO, 1 << 60], EINVAL)?;
    check(
        "a place that wraps",
        [at, PAGE, PAGE, MAYMOVE | TO, 1_usize.wrapping_neg() & !(PAGE - 1)],
        EINVAL,
    )?;
    check("an old place to be kept, without a move", [at, PAGE, PAGE, DONTUNMAP, 0], EINVAL)?;
    check(
        "an old place to be kept, of another length",
        [at, PAGE, 2 * PAGE, MAYMOVE | DONTUNMAP, 0],
        EINVAL,
    )?;
    answers("munmap", MUNMAP, &[at, 2 * PAGE], 0)
}

fn in_place() -> Verdict {
    let at = island(4);
    fill(at, 4, 1);
    ensure!(remap(at, 4, 4, 0, 0) == at as isize, "the same length");
    ensure!(remap(at, 4, 2, 0, 0) == at as isize, "a shorter mapping");
    ensure!(has(at, 2, 1), "a shorter mapping lost what it kept");
    gone("behind a shorter mapping", at + 2 * PAGE)?;
    ensure!(remap(at, 2, 4, 0, 0) == at as isize, "a longer mapping, where there is room");
    ensure!(
        has(at, 2, 1) && peek(at + 2 * PAGE) == 0 && peek(at + 3 * PAGE) == 0,
        "a longer mapping's pages"
    );
    fill(at, 4, 10);
    // In its middle there is no room.
    ensure!(remap(at, 2, 3, 0, 0) == ENOMEM, "a part that became longer over the rest");
    ensure!(remap(at + PAGE, 3, 4, 0, 0) == (at + PAGE) as isize, "the end of a mapping");
    ensure!(has(at, 4, 10), "a longer mapping lost its pages");
    answers("munmap", MUNMAP, &[at, 5 * PAGE], 0)
}

fn moves() -> Verdict {
    let at = island(4);
    fill(at, 4, 1);
    let to = remap(at, 2, 3, MAYMOVE, 0) as usize;
    ensure!(to as isize > 0 && to != at, "a part that moves to become longer: {to:#x}");
    ensure!(has(to, 2, 1) && peek(to + 2 * PAGE) == 0, "what moved has other contents");
    ensure!(has(at + 2 * PAGE, 2, 3), "the rest that stayed has other contents");
    gone("the first page of the old place", at)?;
    gone("the last page of the old place", at + PAGE)?;
    // SAFETY: moved here, and writable as it was.
    unsafe { poke(to + PAGE, 99) };
    ensure!(peek(to + PAGE) == 99, "a store was lost");
    // A child's pages are its own after a move, too.
    child_ends("a move in a child", Status::exit(0), || {
        let far = remap(to, 3, 6, MAYMOVE, 0) as usize;
        fill(far, 6, 50);
        i32::from(!has(far, 6, 50))
    })?;
    ensure!(peek(to) == 1 && peek(to + PAGE) == 99, "a child's move shows");
    answers("munmap", MUNMAP, &[to, 3 * PAGE], 0)?;
    answers("munmap", MUNMAP, &[at, 4 * PAGE], 0)
}

fn to_a_place() -> Verdict {
    let (at, to) = (island(3), island(4));
    fill(at, 3, 1);
    fill(to, 4, 20);
    ensure!(remap(at, 3, 2, MAYMOVE | TO, to + PAGE) == (to + PAGE) as isize, "a place that is taken");
    ensure!(peek(to) == 20 && peek(to + 3 * PAGE) == 23, "a move changed what lies beside its place");
    ensure!(has(to + PAGE, 2, 1), "what moved has other contents");
    for page in 0..3 {
        gone("the old place", at + page * PAGE)?;
    }
    // A place right beside the old one.
    ensure!(remap(to, 4, 4, MAYMOVE | TO, to + 4 * PAGE) == (to + 4 * PAGE) as isize, "the place behind");
    ensure!(remap(to + 4 * PAGE, 4, 4, MAYMOVE | TO, to) == to as isize, "the place before");
    ensure!(has(to + PAGE, 2, 1), "what moved there and back has other contents");
    if on_foreign_kernel() {
        return answers("munmap", MUNMAP, &[to, 4 * PAGE], 0);
    }
    let kept = remap(to, 4, 4, MAYMOVE | DONTUNMAP, 0) as usize;
    ensure!(peek(kept) == 20 && has(kept + PAGE, 2, 1), "what moved, and left its place mapped");
    ensure!((0..4).all(|page| peek(to + page * PAGE) == 0), "the place that stayed mapped is not empty");
    answers("munmap", MUNMAP, &[kept, 4 * PAGE], 0)?;
    answers("munmap", MUNMAP, &[to, 4 * PAGE], 0)
}

/// A mapping of a file shows the file's bytes there. A shared one can be
/// mapped twice by mremap, and shows the bytes at both places.
fn of_files() -> Verdict {
    const PATH: &str = "/tmp/memcalls-remap\0";
    let fd = new_file(PATH, 3 * PAGE, 2);
    let at = call(MMAP, &[0, 3 * PAGE, READ_WRITE, SHARED, fd, 0]) as usize;
    fill(at, 3, 1);
    // The page in the middle is not even present.
    answers("madvise", MADVISE, &[at + PAGE, PAGE, 4], 0)?;
    let to = remap(at + PAGE, 1, 2, MAYMOVE, 0) as usize;
    ensure!(has(to, 2, 2), "a file's pages after a move");
    let longer = remap(to, 2, 4, MAYMOVE, 0) as usize;
    ensure!(has(longer, 2, 2), "a file's pages after another move");
    child_ends("behind the end of the file", Status::signal(SIGBUS), || i32::from(peek(longer + 2 * PAGE)))?;
    // qemu-ppc64 does not support that.
    if !on_foreign_kernel() {
        let twice = remap(longer, 0, 2, MAYMOVE, 0) as usize;
        // SAFETY: mapped here.
        unsafe { poke(twice, 77) };
        ensure!(peek(longer) == 77, "the same pages at two places differ");
        answers("munmap", MUNMAP, &[twice, 2 * PAGE], 0)?;
    }
    for (start, pages) in [(at, 3), (longer, 4)] {
        answers("munmap", MUNMAP, &[start, pages * PAGE], 0)?;
    }
    call(CLOSE, &[fd]);
    answers("unlink", UNLINK, &[PATH.as_ptr() as usize], 0)
}
