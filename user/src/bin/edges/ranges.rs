//! Calls on ranges of the address space that end at its end, or not.

use user::memory::{PAGE, peek};
use user::process::{SIGSEGV, Status};
use user::verdict::child_ends;
use user::{Verdict, ensure};

use super::{END, FOREIGN, LAST, call, map_last_pages};

const BRK: usize = 45;
const MMAP: usize = 90;
const MUNMAP: usize = 91;
const IPC: usize = 117;
const MPROTECT: usize = 125;
const MSYNC: usize = 144;
const MLOCK: usize = 150;
const MUNLOCK: usize = 151;
const MREMAP: usize = 163;
const MADVISE: usize = 205;
const MINCORE: usize = 206;
const MLOCK2: usize = 378;

const ENOMEM: isize = -12;
const EFAULT: isize = -14;
const EEXIST: isize = -17;
const EINVAL: isize = -22;

const TOP: usize = END - PAGE;

pub(crate) fn check() -> Verdict {
    of_what_is_mapped()?;
    new_ones()?;
    moves()?;
    segments()?;
    breaks()?;
    by_hand()
}

fn expect(what: &str, got: isize, expected: isize) -> Verdict {
    ensure!(got == expected, "{what}: {got:#x}, not {expected:#x}");
    Ok(())
}

fn of_what_is_mapped() -> Verdict {
    const SYNC: usize = 4;
    let byte = LAST;
    // Number, third argument, and two answers: to a range over the end, and to a range
    // whose end wraps.
    let calls = [
        (MPROTECT, 3, ENOMEM, ENOMEM),
        (MSYNC, SYNC, ENOMEM, ENOMEM),
        (MLOCK, 0, ENOMEM, EINVAL),
        (MUNLOCK, 0, ENOMEM, EINVAL),
        (MLOCK2, 1, ENOMEM, EINVAL),
        (MADVISE, 0, ENOMEM, EINVAL),
        (MADVISE, 4, ENOMEM, EINVAL),
        (MADVISE, 23, ENOMEM, EINVAL),
        (MINCORE, byte, ENOMEM, ENOMEM),
    ];
    for (nr, third, over, wraps) in calls {
        let get = |start, len| call(nr, &[start, len, third]);
        expect("the last page", get(TOP, PAGE), 0)?;
        expect("the last page, by one byte", get(TOP, 1), 0)?;
        for (start, len) in [(TOP, PAGE + 1), (TOP, 2 * PAGE), (END, PAGE), (END, 1), (TOP, END)] {
            let got = get(start, len);
            ensure!(got == over, "call {nr} of {len:#x} bytes at {start:#x}: {got}, not {over}");
        }
        let got = get(TOP, 0_usize.wrapping_sub(TOP) - 1);
        ensure!(got == wraps, "call {nr} of a range that wraps: {got}, not {wraps}");
        for base in FOREIGN {
            let got = get(base, PAGE);
            // A range to the end of the address space ends where the sum is 0.
            let expected = if base.checked_add(PAGE).is_none() { wraps } else { over };
            ensure!(got == expected, "call {nr} at {base:#x}: {got}, not {expected}");
        }
    }
    for (start, len) in
        [(TOP, 2 * PAGE), (TOP, PAGE + 1), (END, PAGE), (LAST, usize::MAX), (LAST, END), (FOREIGN[2], PAGE)]
    {
        expect("munmap over the end", call(MUNMAP, &[start, len]), EINVAL)?;
    }
    expect("munmap of the last pages", call(MUNMAP, &[LAST, END - LAST]), 0)?;
    map_last_pages()
}

fn new_ones() -> Verdict {
    const FIXED: usize = 0x32;
    const NOREPLACE: usize = 0x10_0022;
    let map = |start, len, flags| call(MMAP, &[start, len, 3, flags, usize::MAX, 0]);
    for flags in [FIXED, NOREPLACE] {
        for (start, len) in [(TOP, PAGE + 1), (TOP, 2 * PAGE), (END, PAGE), (LAST, END), (PAGE * 32, END)] {
            expect("a new mapping over the end", map(start, len, flags), ENOMEM)?;
        }
        for base in FOREIGN {
            expect("a new mapping that is foreign", map(base, PAGE, flags), ENOMEM)?;
        }
    }
    expect("the last page again", map(TOP, PAGE, NOREPLACE), EEXIST)?;
    expect("the last page anew", map(TOP, 1, FIXED), TOP as isize)?;
    // A wish that cannot be fulfilled is no error; one beyond the usual half is granted.
    expect("munmap", call(MUNMAP, &[TOP, PAGE]), 0)?;
    expect("a wish for the last page", map(TOP, PAGE, 0x22), TOP as isize)?;
    for wish in [END, TOP, FOREIGN[2], FOREIGN[3]] {
        let got = map(wish, 2 * PAGE, 0x22);
        let seen = (128 << 40)..=LAST as isize - 2 * PAGE as isize;
        ensure!(seen.contains(&got), "a wish for {wish:#x} gave {got:#x}");
        expect("munmap", call(MUNMAP, &[got as usize, 2 * PAGE]), 0)?;
    }
    for len in [END, END + 1, END - PAGE, 1 << 63, usize::MAX - PAGE, usize::MAX] {
        expect("a mapping of all and more", map(0, len, 0x22), ENOMEM)?;
    }
    Ok(())
}

fn moves() -> Verdict {
    const MOVE: usize = 1;
    const TO: usize = 3;
    let at = call(MMAP, &[0, 2 * PAGE, 3, 0x22, usize::MAX, 0]) as usize;
    let remap = |start, old, new, flags, to| call(MREMAP, &[start, old, new, flags, to]);
    expect("the last page, longer", remap(TOP, PAGE, 2 * PAGE, 0, 0), ENOMEM)?;
    for (len, to) in [(2 * PAGE, TOP), (PAGE, END), (PAGE, FOREIGN[2]), (PAGE, FOREIGN[3]), (END, LAST)] {
        expect("a move over the end", remap(at, PAGE, len, TO, to), EINVAL)?;
    }
    expect("munmap", call(MUNMAP, &[TOP, PAGE]), 0)?;
    expect("up to the end, in place", remap(TOP - PAGE, PAGE, 2 * PAGE, 0, 0), (TOP - PAGE) as isize)?;
    expect("longer than all", remap(at, 2 * PAGE, END, MOVE, 0), ENOMEM)?;
    expect("as long as wraps", remap(at, 2 * PAGE, usize::MAX, MOVE, 0), EINVAL)?;
    expect("longer than all before", remap(at, END, PAGE, TO, LAST), EINVAL)?;
    expect("of the foreign", remap(FOREIGN[2], PAGE, 2 * PAGE, MOVE, 0), EFAULT)?;
    expect("behind the end", remap(END, PAGE, 2 * PAGE, MOVE, 0), EFAULT)?;
    expect("to the last pages", remap(at, 2 * PAGE, 2 * PAGE, TO, TOP - PAGE), (TOP - PAGE) as isize)?;
    ensure!(peek(END - 1) == 0, "the last byte after a move");
    let back = remap(TOP - PAGE, 2 * PAGE, 3 * PAGE, MOVE, 0);
    ensure!(back > 0 && back as usize + 3 * PAGE <= LAST, "from the last pages to {back:#x}");
    expect("munmap", call(MUNMAP, &[back as usize, 3 * PAGE]), 0)?;
    expect("the rest of the last pages", call(MUNMAP, &[LAST, END - LAST]), 0)?;
    map_last_pages()
}

/// System V's memory at the end.
fn segments() -> Verdict {
    const REMAP: usize = 0o40000;
    let id = call(IPC, &[23, 0, 2 * PAGE, 0o600]) as usize;
    let attach = |at, flags| call(IPC, &[21, id, flags, LAST, at]);
    expect("a segment over the end", attach(TOP, REMAP), ENOMEM)?;
    expect("a segment behind the end", attach(END, 0), ENOMEM)?;
    expect("a segment that wraps", attach(FOREIGN[3], REMAP), EINVAL)?;
    expect("a segment at the end", attach(TOP - PAGE, REMAP), 0)?;
    for at in [TOP, END, FOREIGN[2], FOREIGN[3]] {
        expect("what is no attachment", call(IPC, &[22, 0, 0, 0, at]), EINVAL)?;
    }
    expect("shmdt", call(IPC, &[22, 0, 0, 0, TOP - PAGE]), 0)?;
    expect("IPC_RMID", call(IPC, &[24, id, 0x100, 0, 0]), 0)?;
    expect("the rest of the last pages", call(MUNMAP, &[LAST, END - LAST]), 0)?;
    map_last_pages()
}

fn breaks() -> Verdict {
    let now = call(BRK, &[0]);
    for wish in [END - 1, END, END + 1, FOREIGN[2], FOREIGN[3], usize::MAX - PAGE, usize::MAX] {
        expect("a break at the end", call(BRK, &[wish]), now)?;
    }
    Ok(())
}

/// The program's own accesses.
fn by_hand() -> Verdict {
    ensure!(peek(END - 1) == 0, "the last byte");
    for address in [END, FOREIGN[0], FOREIGN[2]] {
        child_ends("a load behind the end", Status::signal(SIGSEGV), || i32::from(peek(address)))?;
    }
    Ok(())
}
