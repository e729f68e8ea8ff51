//! mmap: its errors, and where it puts mappings.

use user::memory::{PAGE, peek, poke};
use user::verdict::on_foreign_kernel;
use user::{Verdict, ensure};

use super::calls::*;

const SHARED_VALIDATE: usize = 3;
const GROWSDOWN: usize = 0x100;
const HUGETLB: usize = 0x4_0000;
const FIXED_NOREPLACE: usize = 0x10_0000;
const ANY: usize = PRIVATE | ANONYMOUS;
const NO_FD: usize = usize::MAX;

pub(crate) fn check() -> Verdict {
    anonymous()?;
    files()?;
    places()?;
    many_areas_at_once()
}

fn anonymous() -> Verdict {
    let map = |what, args: [usize; 6], expected| answers(what, MMAP, &args, expected);
    map("no length", [0, 0, READ, ANY, NO_FD, 0], EINVAL)?;
    map("a length that wraps", [0, usize::MAX, READ, ANY, NO_FD, 0], ENOMEM)?;
    map("a length beyond all", [0, 1 << 62, READ, ANY, NO_FD, 0], ENOMEM)?;
    map("neither shared nor private", [0, PAGE, READ, ANONYMOUS, NO_FD, 0], EINVAL)?;
    map("shared and validated, no file", [0, PAGE, READ, SHARED_VALIDATE | ANONYMOUS, NO_FD, 0], EINVAL)?;
    map("an odd type", [0, PAGE, READ, 8 | ANONYMOUS, NO_FD, 0], EINVAL)?;
    map("an odd offset", [0, PAGE, READ, ANY, NO_FD, 1], EINVAL)?;
    map("a shared stack", [0, PAGE, READ, SHARED | ANONYMOUS | GROWSDOWN, NO_FD, 0], EINVAL)?;
    if !on_foreign_kernel() {
        map("huge pages", [0, PAGE, READ, ANY | HUGETLB, NO_FD, 0], EINVAL)?;
        map("strong access order", [0, PAGE, READ | 0x10, ANY, NO_FD, 0], EINVAL)?;
        map("an odd protection", [0, PAGE, READ | 0x1000, ANY, NO_FD, 0], EINVAL)?;
    }
    // PROT_SEM and unknown flags are no obstacle.
    for (prot, flags) in [(READ | 8, ANY), (READ, ANY | 1 << 25), (READ, ANY | 0x80)] {
        let at = call(MMAP, &[0, PAGE, prot, flags, NO_FD, 0]);
        ensure!(at > 0, "mmap with protection {prot:#x} and flags {flags:#x}: {at}");
        call(MUNMAP, &[at as usize, PAGE]);
    }
    Ok(())
}

fn files() -> Verdict {
    const PATH: &str = "/tmp/memcalls\0";
    let (write_only, both) = (new_file(PATH, 2 * PAGE, 1), new_file(PATH, 2 * PAGE, 2));
    let read_only = call(OPEN, &[PATH.as_ptr() as usize, 0, 0]) as usize;
    let map = |what, args: [usize; 6], expected| answers(what, MMAP, &args, expected);
    map("no descriptor", [0, PAGE, READ, SHARED, 999, 0], EBADF)?;
    map("no length of a file", [0, 0, READ, SHARED, both, 0], EINVAL)?;
    map("no type of a file", [0, PAGE, READ, 0, both, 0], EINVAL)?;
    map("a file that cannot be read", [0, PAGE, READ, PRIVATE, write_only, 0], EACCES)?;
    map("stores to a file that is only read", [0, PAGE, READ_WRITE, SHARED, read_only, 0], EACCES)?;
    map("an odd offset of a file", [0, PAGE, READ, SHARED, both, 1], EINVAL)?;
    if !on_foreign_kernel() {
        map("an unknown flag", [0, PAGE, READ, SHARED_VALIDATE | 1 << 25, both, 0], EOPNOTSUPP)?;
        map(
            "an offset beyond all",
            [0, PAGE, READ, SHARED, both, 1_usize.wrapping_neg() & !(PAGE - 1)],
            EOVERFLOW,
        )?;
        map("an end beyond all", [0, PAGE, READ, SHARED, both, (1 << 63) - PAGE], EOVERFLOW)?;
        map("a stack of a file", [0, PAGE, READ, PRIVATE | GROWSDOWN, both, 0], EINVAL)?;
    }
    // qemu-ppc64 knows no validation.
    let kind = if on_foreign_kernel() { SHARED } else { SHARED_VALIDATE };
    let shown = call(MMAP, &[0, PAGE, READ_WRITE, kind, both, 0]) as usize;
    let private = call(MMAP, &[0, PAGE, READ_WRITE, PRIVATE, read_only, 0]) as usize;
    ensure!(shown as isize > 0 && private as isize > 0, "a file cannot be mapped");
    // SAFETY: both are mapped here, and nothing refers to them.
    unsafe {
        poke(shown, 7);
        ensure!(peek(private) == 7, "a private page does not show its file");
        poke(private, 8);
        ensure!(peek(shown) == 7, "a private store reached the file");
    }
    // A protection that is added later is checked later.
    let only_read = call(MMAP, &[0, PAGE, READ, SHARED, read_only, 0]) as usize;
    answers("a shared page of it made writable", MPROTECT, &[only_read, PAGE, READ_WRITE], EACCES)?;
    answers("a private page of it", MPROTECT, &[private, PAGE, READ], 0)?;
    answers("a private page of it made writable", MPROTECT, &[private, PAGE, READ_WRITE], 0)?;
    for at in [shown, private, only_read] {
        answers("munmap", MUNMAP, &[at, PAGE], 0)?;
    }
    for fd in [write_only, both, read_only] {
        call(CLOSE, &[fd]);
    }
    answers("unlink", UNLINK, &[PATH.as_ptr() as usize], 0)
}

fn places() -> Verdict {
    let map = |hint, len, flags| call(MMAP, &[hint, len, READ_WRITE, ANY | flags, NO_FD, 0]);
    let at = island(4);
    let free = at + 4 * PAGE;
    ensure!(map(free, PAGE, 0) == free as isize, "a wish for a free place was not heard");
    ensure!(map(free + 3 * PAGE - 1, PAGE, 0) == (free + 2 * PAGE) as isize, "a wish is not rounded down");
    let taken = map(at, PAGE, 0) as usize;
    ensure!(taken != at && taken as isize > 0, "a wish for a place that is taken gave {taken:#x}");
    call(MUNMAP, &[taken, PAGE]);
    // Only its last page is taken, or its first.
    for wish in [at - PAGE, free + 2 * PAGE] {
        let got = map(wish, 2 * PAGE, 0) as usize;
        ensure!(
            (got != wish) == (wish < at || wish == free + 2 * PAGE),
            "a wish beside {at:#x} gave {got:#x}"
        );
        call(MUNMAP, &[got, 2 * PAGE]);
    }
    ensure!(map(at + 1, PAGE, FIXED) == EINVAL, "a fixed place that is not aligned");
    if !on_foreign_kernel() {
        let fixed = FIXED_NOREPLACE;
        ensure!(map(at, PAGE, fixed) == EEXIST, "a place was taken twice");
        ensure!(map(at - PAGE, 2 * PAGE, fixed) == EEXIST, "a place was taken twice at its end");
        ensure!(map(at - PAGE, PAGE, fixed) == (at - PAGE) as isize, "a free place beside another");
        const LOWEST: usize = 64 << 10;
        ensure!(map(LOWEST - PAGE, PAGE, FIXED) == EPERM, "a page below all");
        ensure!(map(LOWEST, PAGE, FIXED) == LOWEST as isize, "the lowest page");
        answers("munmap", MUNMAP, &[LOWEST, PAGE], 0)?;
        ensure!(map(PAGE, PAGE, 0) == LOWEST as isize, "a wish for a page below all");
        answers("munmap", MUNMAP, &[LOWEST, PAGE], 0)?;
    }
    answers("munmap", MUNMAP, &[at - PAGE, 8 * PAGE], 0)
}

/// `MAP_FIXED`, munmap and fresh zeroes over several areas and the holes between them.
fn many_areas_at_once() -> Verdict {
    let at = island(9);
    let page = |index: usize| at + index * PAGE;
    for index in 0..9 {
        // SAFETY: mapped above.
        unsafe { poke(page(index), index as u8 + 1) };
    }
    answers("mprotect", MPROTECT, &[page(2), PAGE, READ], 0)?;
    answers("munmap", MUNMAP, &[page(4), PAGE], 0)?;
    let answer = call(MMAP, &[page(1), 5 * PAGE, READ_WRITE, ANY | FIXED, NO_FD, 0]);
    ensure!(answer == page(1) as isize, "a fixed mapping over several areas: {answer}");
    for index in 0..9 {
        let expected = if (1..6).contains(&index) { 0 } else { index as u8 + 1 };
        ensure!(peek(page(index)) == expected, "page {index} has {}", peek(page(index)));
    }
    // SAFETY: mapped anew, and writable.
    unsafe { poke(page(2), 3) };
    answers("munmap of all and more", MUNMAP, &[page(0) - PAGE, 11 * PAGE], 0)?;
    answers("mincore of what is gone", MINCORE, &[page(8), PAGE, &raw const at as usize], ENOMEM)
}
