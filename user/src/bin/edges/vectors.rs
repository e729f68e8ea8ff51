//! Pieces of memory, in a vector or alone: their ends and sums.

use core::slice;

use user::{Verdict, ensure};

use super::{END, FOREIGN, call};

const READ: usize = 3;
const WRITE: usize = 4;
const PREAD: usize = 179;
const PWRITE: usize = 180;
const READV: usize = 145;
const WRITEV: usize = 146;
const EFAULT: isize = -14;
const EINVAL: isize = -22;

/// Writes `bytes` to `address`, in the last pages.
pub(crate) fn fill(address: usize, bytes: &[u8]) {
    // SAFETY: in the last pages, to which nothing refers.
    unsafe { slice::from_raw_parts_mut(address as *mut u8, bytes.len()).copy_from_slice(bytes) };
}

/// Whether `bytes` are at `address`, in the last pages.
pub(crate) fn holds(address: usize, bytes: &[u8]) -> bool {
    // SAFETY: in the last pages, to which nothing refers.
    unsafe { slice::from_raw_parts(address as *const u8, bytes.len()) == bytes }
}

/// A file of 64 bytes that are 1.
fn file() -> usize {
    const O_RDWR_CREAT_TRUNC: usize = 0o1102;
    let path = c"/tmp/edges-vectors".as_ptr() as usize;
    let fd = call(5, &[path, O_RDWR_CREAT_TRUNC, 0o600]) as usize;
    call(10, &[path]);
    call(WRITE, &[fd, [1_u8; 64].as_ptr() as usize, 64]);
    fd
}

pub(crate) fn check() -> Verdict {
    let fd = file();
    alone(fd)?;
    in_vectors(fd)?;
    paths()?;
    call(6, &[fd]);
    Ok(())
}

/// However few bytes the file has, the whole range must be the user's.
fn alone(fd: usize) -> Verdict {
    for nr in [PREAD, PWRITE, READ, WRITE] {
        let io = |base, len| call(nr, &[fd, base, len, 0]);
        // At the end of the file, or at its start.
        let full = if nr == READ { 0 } else { 8 };
        ensure!(io(END - 8, 8) == full, "call {nr} of the last bytes: {}", io(END - 8, 8));
        ensure!(io(END, 0) == 0, "call {nr} of nothing at the end: {}", io(END, 0));
        ensure!(io(END + 1, 0) == EFAULT, "call {nr} of nothing behind the end: {}", io(END + 1, 0));
        ensure!(io(END - 8, 9) == EFAULT, "call {nr} over the end: {}", io(END - 8, 9));
        // The whole address space: as much as the file gives.
        if nr == READ {
            ensure!(io(0, END) == 0, "a read of nothing to anywhere: {}", io(0, END));
        }
        for len in [END, END + 1, 1 << 62, usize::MAX >> 1, usize::MAX - 8, usize::MAX] {
            ensure!(io(END - 8, len) == EFAULT, "call {nr} of {len:#x} bytes: {}", io(END - 8, len));
        }
        for base in FOREIGN {
            ensure!(io(base, 8) == EFAULT, "call {nr} at {base:#x}: {}", io(base, 8));
            ensure!(io(base, 0) == EFAULT, "call {nr} of nothing at {base:#x}: {}", io(base, 0));
        }
    }
    Ok(())
}

fn in_vectors(fd: usize) -> Verdict {
    for nr in [READV, WRITEV] {
        // The file's position is put back, so that readv finds bytes.
        let io = |pieces: &[[usize; 2]]| {
            call(19, &[fd, 0, 0]);
            call(nr, &[fd, pieces.as_ptr() as usize, pieces.len()])
        };
        let check = |what, pieces: &[[usize; 2]], expected: isize| -> Verdict {
            let got = io(pieces);
            ensure!(got == expected, "call {nr}: {what}: {got}, not {expected}");
            Ok(())
        };
        let good = [END - 8, 8];
        check("two pieces", &[good, good], 16)?;
        check("nothing at the end", &[good, [END, 0]], 8)?;
        fill(END - 8, &[7; 8]);
        check("a piece over the end", &[good, [END - 8, 9]], EFAULT)?;
        check("nothing behind the end", &[good, [END + 1, 0]], EFAULT)?;
        for base in FOREIGN {
            check("a foreign piece", &[good, [base, 8]], EFAULT)?;
            check("nothing of a foreign piece", &[good, [base, 0]], EFAULT)?;
        }
        ensure!(holds(END - 8, &[7; 8]), "call {nr}: EFAULT, after a piece was read");
        check("a length below 0", &[good, [END - 8, 1 << 63]], EINVAL)?;
        check("a length of -1", &[[END - 8, usize::MAX], good], EINVAL)?;
        check("lengths whose sum is too large", &[[END - 8, 1 << 62], [END - 8, 1 << 62]], EFAULT)?;
        check("lengths whose sum wraps", &[[0, 1 << 63], [0, 1 << 63]], EINVAL)?;
        let many = |count| call(nr, &[fd, END - 16, count]);
        ensure!(
            many(1025) == EINVAL && many(usize::MAX) == EINVAL,
            "call {nr}: more pieces than there may be"
        );
        ensure!(many(2) == EFAULT, "call {nr}: a vector over the end: {}", many(2));
    }
    Ok(())
}

/// Strings whose NUL is the very last byte, or is missing; in argv, too.
fn paths() -> Verdict {
    const OPEN: usize = 5;
    const EXECVE: usize = 11;
    const ENOENT: isize = -2;
    const ENAMETOOLONG: isize = -36;
    for len in [1, 100, 127, 128, 129, 4095, 4096] {
        let string = [b'a'; 5000];
        fill(END - len, &string[..len]);
        let got = call(OPEN, &[END - len, 0, 0]);
        // A path of 4096 bytes is too long, before its missing end is found.
        let expected = if len >= 4096 { ENAMETOOLONG } else { EFAULT };
        ensure!(got == expected, "a path of {len} bytes without an end: {got}");
        fill(END - 1, &[0]);
        let got = call(OPEN, &[END - len, 0, 0]);
        let expected = if len <= 256 { ENOENT } else { ENAMETOOLONG };
        ensure!(got == expected, "a path that ends at the last byte, of {len} bytes: {got}");
    }
    let path = c"/tmp/none".as_ptr() as usize;
    let mut vector = [END - 4, 0];
    fill(END - 4, b"abc\0");
    let exec = |argv: usize, envp: usize| call(EXECVE, &[path, argv, envp]);
    ensure!(exec(vector.as_ptr() as usize, 0) == ENOENT, "an argument that ends at the last byte");
    fill(END - 4, b"abcd");
    ensure!(exec(vector.as_ptr() as usize, 0) == EFAULT, "an argument without an end");
    ensure!(exec(0, vector.as_ptr() as usize) == EFAULT, "a variable without an end");
    for base in FOREIGN.into_iter().chain([END]) {
        vector[0] = base;
        ensure!(exec(vector.as_ptr() as usize, 0) == EFAULT, "an argument at {base:#x}");
    }
    // The vector itself has no end.
    let empty = c"".as_ptr() as usize;
    fill(END - 16, [empty, empty].map(usize::to_be_bytes).as_flattened());
    ensure!(exec(END - 16, 0) == EFAULT, "arguments without an end");
    fill(END - 8, &[0; 8]);
    ensure!(exec(END - 16, END - 8) == ENOENT, "arguments that end at the last byte");
    Ok(())
}
