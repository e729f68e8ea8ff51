//! Programs whose segments are at the edge.

use user::memory::PAGE;
use user::process::{self, Status};
use user::verdict::child_ends;
use user::{Verdict, ensure};

use super::{END, FOREIGN, call};

/// Behind the last byte that a program may have: Linux's mmap_base with the smallest gap.
const PROGRAM_END: usize = (128 << 40) - (64 << 10) - (128 << 20);
const TEXT: usize = 0x1000_0000;
/// The lowest address that a program may have.
const LOWEST: usize = 64 << 10;

/// A program that exits with 7, and has a segment of zeroes besides.
fn image(text: usize, zeroes_at: usize, zeroes: usize) -> [u8; 0x1000] {
    let mut file = [0; 0x1000];
    let mut put = |at: usize, bytes: &[u8]| file[at..at + bytes.len()].copy_from_slice(bytes);
    // 64 bit, big-endian; an executable for ppc64, ELFv2.
    put(0, b"\x7fELF\x02\x02\x01");
    put(16, &[0, 2, 0, 21, 0, 0, 0, 1]);
    put(24, &(text + 0x200).to_be_bytes());
    put(32, &64_u64.to_be_bytes());
    put(48, &[0, 0, 0, 2, 0, 64, 0, 56, 0, 2]);
    let mut segment = |at: usize, flags: u8, fields: [usize; 6]| {
        put(at, &[0, 0, 0, 1, 0, 0, 0, flags]);
        put(at + 8, fields.map(usize::to_be_bytes).as_flattened());
    };
    // Offset, address twice, bytes in the file and in memory, alignment.
    segment(64, 5, [0, text, text, 0x1000, 0x1000, PAGE]);
    segment(120, 6, [zeroes_at % PAGE, zeroes_at, zeroes_at, 0, zeroes, PAGE]);
    // li r3,7; li r0,234 (exit_group); sc
    put(0x200, &[0x38, 0x60, 0, 7, 0x38, 0, 0, 234, 0x44, 0, 0, 2]);
    file
}

/// Runs it in a child, which exits with 100 and the error number if it cannot be run.
fn runs(what: &str, text: usize, zeroes_at: usize, zeroes: usize, status: i32) -> Verdict {
    const O_WRONLY_CREAT_TRUNC: usize = 0o1101;
    let path = c"/tmp/edges-program";
    let file = image(text, zeroes_at, zeroes);
    let fd = call(5, &[path.as_ptr() as usize, O_WRONLY_CREAT_TRUNC, 0o700]) as usize;
    let written = call(4, &[fd, file.as_ptr() as usize, file.len()]);
    call(6, &[fd]);
    ensure!(written == file.len() as isize, "a program written: {written}");
    child_ends(what, Status::exit(status), || 100 + process::exec(path, &[path], &[]).0)
}

pub(crate) fn check() -> Verdict {
    const RUNS: i32 = 7;
    const ENOEXEC: i32 = 108;
    runs("a segment that ends as far up as it may", TEXT, PROGRAM_END - PAGE, PAGE, RUNS)?;
    runs("a segment of one byte there", TEXT, PROGRAM_END - 1, 1, RUNS)?;
    runs("a segment that ends one byte further", TEXT, PROGRAM_END - PAGE, PAGE + 1, ENOEXEC)?;
    runs("a segment behind it", TEXT, PROGRAM_END, 1, ENOEXEC)?;
    runs("a segment at the end of all", TEXT, END - PAGE, PAGE, ENOEXEC)?;
    runs("a segment over the end of all", TEXT, END - PAGE, PAGE + 1, ENOEXEC)?;
    runs("a segment that wraps", TEXT, TEXT + PAGE, usize::MAX - TEXT - PAGE + 1, ENOEXEC)?;
    runs("a segment that wraps to behind its start", TEXT, TEXT + PAGE, usize::MAX, ENOEXEC)?;
    runs("a text as far down as it may be", LOWEST, TEXT, PAGE, RUNS)?;
    runs("a text one page further down", LOWEST - PAGE, TEXT, PAGE, ENOEXEC)?;
    for base in FOREIGN {
        runs("a foreign segment", TEXT, base, PAGE, ENOEXEC)?;
    }
    ensure!(call(10, &[c"/tmp/edges-program".as_ptr() as usize]) == 0, "unlink");
    Ok(())
}
