//! Stacks: they grow to an access below them, up to a limit, and not into
//! other mappings.

use user::memory::{PAGE, peek, poke};
use user::process::{SIGSEGV, Status};
use user::verdict::{child_ends, on_foreign_kernel};
use user::{Verdict, ensure};

use super::calls::*;

const GROWSDOWN: usize = 0x100;
/// The pages that stay free below a stack.
const GAP: usize = 256 * PAGE;
/// RLIMIT_STACK of a program for which it was not changed.
const LIMIT: usize = 8 << 20;

pub(crate) fn check() -> Verdict {
    // qemu-ppc64 makes no stacks.
    if on_foreign_kernel() {
        return Ok(());
    }
    grows()?;
    has_a_limit()?;
    keeps_its_gap()?;
    the_first_one()
}

/// A stack of two pages at the top of `free` bytes in which nothing is mapped.
fn stack(free: usize) -> usize {
    let start = call(MMAP, &[0, free, NONE, PRIVATE | ANONYMOUS, usize::MAX, 0]) as usize;
    call(MUNMAP, &[start, free]);
    let at = start + free - 2 * PAGE;
    call(MMAP, &[at, 2 * PAGE, READ_WRITE, PRIVATE | ANONYMOUS | FIXED | GROWSDOWN, usize::MAX, 0]) as usize
}

/// Fails unless a store to `address` ends a child, or does not.
fn stores(what: &str, address: usize, may: bool) -> Verdict {
    let ends = if may { Status::exit(0) } else { Status::signal(SIGSEGV) };
    child_ends(what, ends, || {
        // SAFETY: a byte that only this test uses, in a child of its own.
        unsafe { poke(address, 9) };
        0
    })
}

fn grows() -> Verdict {
    let at = stack(16 << 20);
    // SAFETY: below the stack is nothing else.
    unsafe {
        poke(at - 8, 1);
        poke(at - 20 * PAGE, 2);
    }
    ensure!(peek(at - 8) == 1 && peek(at - 10 * PAGE) == 0 && peek(at - 20 * PAGE) == 2, "a stack that grew");
    // The kernel's own store grows it too; and mprotect finds its start.
    let byte = at - 30 * PAGE;
    answers("mincore to below a stack", MINCORE, &[at - PAGE, PAGE, byte], 0)?;
    ensure!(peek(byte) == 1, "what the kernel stored below a stack");
    answers("a stack from its start", MPROTECT, &[at, PAGE, READ | 0x100_0000], 0)?;
    stores("the lowest page", byte, false)?;
    stores("the page above", at + PAGE, true)?;
    answers("munmap", MUNMAP, &[byte, at + 2 * PAGE - byte], 0)
}

fn has_a_limit() -> Verdict {
    let at = stack(16 << 20);
    let lowest = at + 2 * PAGE - LIMIT;
    stores("one page beyond the limit", lowest - 1, false)?;
    stores("the last page within it", lowest, true)?;
    answers("munmap", MUNMAP, &[at, 2 * PAGE], 0)
}

fn keeps_its_gap() -> Verdict {
    let at = stack(16 << 20);
    let below = at - GAP - 10 * PAGE;
    let map = |at, prot| call(MMAP, &[at, PAGE, prot, PRIVATE | ANONYMOUS | FIXED, usize::MAX, 0]);
    ensure!(map(below, READ) == below as isize, "a page below a stack");
    stores("into the gap", below + PAGE + GAP - 1, false)?;
    stores("down to the gap", below + PAGE + GAP, true)?;
    // A page that allows no access serves as a gap itself.
    ensure!(map(below, NONE) == below as isize, "a closed page below a stack");
    stores("down to a closed page", below + PAGE, true)?;
    // Nothing is put into the gap unless the address is fixed.
    let wish = at - GAP / 2;
    let got = call(MMAP, &[wish, PAGE, READ, PRIVATE | ANONYMOUS, usize::MAX, 0]) as usize;
    ensure!(got != wish, "a wish for a place in a stack's gap was heard");
    for (start, pages) in [(got, 1), (below, 1), (at, 2)] {
        answers("munmap", MUNMAP, &[start, pages * PAGE], 0)?;
    }
    Ok(())
}

/// The program's own stack is one of them.
fn the_first_one() -> Verdict {
    let here = the_first_one as *const () as usize;
    let local = 0_u8;
    let top = &raw const local as usize;
    ensure!(top > here, "the stack lies below the program");
    stores("a megabyte down the stack", top - (1 << 20), true)?;
    stores("beyond the limit of the stack", top - LIMIT, false)
}
