//! Each call with one bad address, and nothing else wrong.

use user::process;
use user::{Context, Verdict, ensure};

use super::table::{Arg, CALLS, Call};
use super::{END, FOREIGN, call, vectors};

const EFAULT: isize = -14;

/// The objects that the arguments of the table stand for.
pub(crate) struct Things {
    /// A file of many zeroes, open for both.
    file: usize,
    /// A directory.
    directory: usize,
    /// A segment of shared memory.
    segment: usize,
    /// Where good arguments are, one after the other.
    room: *mut u8,
    /// One piece of good memory, for calls that take a vector of pieces.
    piece: [usize; 2],
}

const ROOM_BYTES: usize = 4096;
const SLOT_BYTES: usize = 512;

impl Things {
    fn new() -> Result<Self, alloc::string::String> {
        const O_RDWR_CREAT: usize = 0o102;
        let path = c"/tmp/edges".as_ptr() as usize;
        let file = call(5, &[path, O_RDWR_CREAT, 0o600]);
        let directory = call(5, &[c"/tmp".as_ptr() as usize, 0, 0]);
        let segment = call(117, &[23, 0, 4096, 0o600, 0]);
        ensure!(
            file >= 0 && directory >= 0 && segment >= 0,
            "file {file}, directory {directory}, segment {segment}"
        );
        ensure!(call(93, &[file as usize, 1 << 20]) == 0, "ftruncate");
        let protection = user::memory::Protection::READ_WRITE;
        let room = user::memory::map(ROOM_BYTES, protection).context("mmap")?;
        let piece = [room as usize + ROOM_BYTES - 16, 16];
        Ok(Self {
            file: file as usize,
            directory: directory as usize,
            segment: segment as usize,
            room,
            piece,
        })
    }

    /// The bytes that an argument points to, as they must be before the call; or the
    /// value.
    fn bytes(&self, arg: &Arg) -> Result<([u8; SLOT_BYTES], usize, usize), usize> {
        let mut bytes = [0x5a; SLOT_BYTES];
        let (len, align) = match *arg {
            Arg::Value(value) => return Err(value),
            Arg::File => return Err(self.file),
            Arg::Directory => {
                // Rewinds to the first name before each call: at the end nothing is stored.
                call(19, &[self.directory, 0, 0]);
                return Err(self.directory);
            }
            Arg::Segment => return Err(self.segment),
            Arg::In(content) => {
                bytes[..content.len()].copy_from_slice(content);
                (content.len(), 1)
            }
            Arg::Path(path) => {
                bytes[..path.len()].copy_from_slice(path.as_bytes());
                bytes[path.len()] = 0;
                (path.len() + 1, 1)
            }
            Arg::Piece => {
                bytes[..8].copy_from_slice(&self.piece[0].to_be_bytes());
                bytes[8..16].copy_from_slice(&self.piece[1].to_be_bytes());
                (16, 1)
            }
            Arg::Out(len) => (len, 1),
            Arg::Some(len) => (len, len),
            Arg::Word => {
                bytes[..4].fill(0);
                (4, 4)
            }
        };
        Ok((bytes, len, align))
    }

    /// Good arguments for `row`.
    fn arguments(&self, row: &Call) -> [usize; 6] {
        let mut all = [0; 6];
        for (index, arg) in row.args.iter().enumerate() {
            all[index] = match self.bytes(arg) {
                Err(value) => value,
                Ok((bytes, ..)) => {
                    let slot = self.room.wrapping_add(index * SLOT_BYTES);
                    // SAFETY: a slot of the room, which nothing refers to.
                    unsafe { slot.cast::<[u8; SLOT_BYTES]>().write(bytes) };
                    slot as usize
                }
            };
        }
        all
    }
}

/// Checks every row that `exists`.
pub(crate) fn check(exists: impl Fn(usize) -> bool) -> Verdict {
    let things = Things::new()?;
    for row in CALLS.iter().filter(|row| exists(row.nr)) {
        for index in 0..row.args.len() {
            if let Ok((bytes, len, align)) = things.bytes(&row.args[index]) {
                check_argument(&things, row, index, &bytes[..len], align)?;
            }
        }
    }
    call(6, &[things.file]);
    call(6, &[things.directory]);
    ensure!(call(117, &[24, things.segment, 0x100, 0, 0]) == 0, "IPC_RMID");
    call(10, &[c"/tmp/edges".as_ptr() as usize]);
    Ok(())
}

/// The call with its argument `index` at one address after another.
fn check_argument(things: &Things, row: &Call, index: usize, bytes: &[u8], align: usize) -> Verdict {
    let answer = |address: usize| -> Result<isize, alloc::string::String> {
        let mut args = things.arguments(row);
        args[index] = address;
        let child = if row.takes_child { Some(process::spawn(|| 0).context("fork")?) } else { None };
        let answer = call(row.nr, &args);
        if let Some(child) = child {
            // The child may have been waited for already.
            let _ = process::wait(child);
        }
        Ok(answer)
    };
    let (name, nr) = (row.name, row.nr);
    let len = bytes.len();
    if !row.blocks {
        let good = things.arguments(row)[index];
        let got = answer(good)?;
        ensure!(got != EFAULT, "{name} ({nr}): argument {index} is good, and EFAULT");
        vectors::fill(END - len, bytes);
        let got = answer(END - len)?;
        ensure!(got != EFAULT, "{name} ({nr}): argument {index} ends at the last byte, and is EFAULT");
    }
    // One step too far. The part that is in memory must stay as it was. A string has no
    // end there.
    let far = END - len + align;
    let unended = if matches!(row.args[index], Arg::Path(_)) { &bytes[..len - 1] } else { bytes };
    vectors::fill(far, &unended[..unended.len().min(END - far)]);
    let got = answer(far)?;
    ensure!(got == EFAULT, "{name} ({nr}): argument {index} reaches over the end by {align}: {got}");
    ensure!(
        vectors::holds(far, &bytes[..END - far]),
        "{name} ({nr}): argument {index}: EFAULT, after a part was written"
    );
    for base in FOREIGN.into_iter().chain([END, 0_usize.wrapping_sub(align), END + 4096]) {
        let got = answer(base)?;
        ensure!(got == EFAULT, "{name} ({nr}): argument {index} at {base:#x}: {got}");
    }
    Ok(())
}
