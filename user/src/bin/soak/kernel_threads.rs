//! Kernel threads in our address space: while we wait for them (`/dev/use_mm`), and
//! long after we are gone (`/dev/keep_mm` of test builds).

use user::file::{self, Fd};
use user::memory::{PAGE, Region};
use user::process::{self, SIGKILL, Status};
use user::{Context, Errno, Verdict, ensure};

use super::{Worker, sleep};

/// Reads of random pieces, touched before or not: byte `i` of a read is `i & 0xff`.
pub(crate) fn use_mm(worker: &mut Worker) -> Verdict {
    let device = file::open(c"/dev/use_mm").context("/dev/use_mm")?;
    for _ in 0..worker.random.between(1, 6) {
        let pages = worker.random.between(1, 12);
        let mut region = Region::new(pages).context("mmap")?;
        let start = worker.random.below(region.len());
        let end = worker.random.between(start + 1, region.len());
        let buffer = &mut region.bytes()[start..end];
        if worker.random.one_in(2) {
            buffer.fill(0xee);
        }
        let count = device.read(buffer).context("read")?;
        ensure!(count == buffer.len(), "read {count} of {} bytes", buffer.len());
        let wrong = (0..count).find(|&at| buffer[at] != at as u8);
        ensure!(wrong.is_none(), "byte {wrong:?} of {count} is another one");
    }
    device.close().context("close")
}

/// A process that is killed, sooner or later, while kernel threads work for it.
pub(crate) fn killed_in_use_mm(worker: &mut Worker) -> Verdict {
    let pages = worker.random.between(1, 8);
    let child = process::spawn(|| read_for_ever(pages)).context("fork")?;
    let nap = worker.nap(20_000);
    sleep(nap);
    process::kill(child, SIGKILL).context("kill")?;
    let status = process::wait(child).context("wait4")?;
    ensure!(status == Status::signal(SIGKILL), "the reader ended with {status}");
    Ok(())
}

fn read_for_ever(pages: usize) -> i32 {
    let Ok(device) = file::open(c"/dev/use_mm") else { return 1 };
    loop {
        let Ok(mut region) = Region::new(pages) else { return 2 };
        if device.read(region.bytes()) != Ok(pages * PAGE) {
            return 3;
        }
    }
}

/// A process asks kernel threads to keep its mm, its users or only the struct, and
/// to look at a word of it later; then it exits, becomes another program, or is
/// killed. The kernel checks the word.
pub(crate) fn kept(worker: &mut Worker) -> Verdict {
    let device = match file::open_for_writing(c"/dev/keep_mm") {
        Err(Errno::ENOENT) => return Ok(()),
        device => device.context("/dev/keep_mm")?,
    };
    let how = worker.random.below(3);
    let child = process::spawn(|| kept_child(worker, device, how)).context("fork")?;
    let status = process::wait(child).context("wait4")?;
    let expected = if how == 2 { Status::signal(SIGKILL) } else { Status::exit(0) };
    ensure!(status == expected, "the kept process ended with {status}");
    device.close().context("close")
}

fn kept_child(worker: &mut Worker, device: Fd, how: usize) -> i32 {
    let pages = worker.random.between(1, 6);
    let Ok(mut region) = Region::new(pages) else { return 1 };
    for page in region.bytes().chunks_mut(PAGE) {
        let (word, only_struct) = (worker.random.next_u64(), worker.random.below(2));
        page[..8].copy_from_slice(&word.to_be_bytes());
        let delay_us = worker.random.below(30_000);
        let request = [only_struct as u64, delay_us as u64, page.as_ptr() as u64, word];
        let mut bytes = [0; 32];
        for (to, word) in bytes.chunks_mut(8).zip(request) {
            to.copy_from_slice(&word.to_be_bytes());
        }
        // EAGAIN: there are enough keepers already.
        if !matches!(device.write_all(&bytes), Ok(()) | Err(Errno::EAGAIN)) {
            return 2;
        }
    }
    let nap = worker.nap(2000);
    sleep(nap);
    match how {
        // The region stays mapped until the end of the mm.
        0 => process::exit_group(0),
        1 => {
            let _ = process::exec(c"/bin/true", &[c"true"], &[]);
            3
        }
        _ => {
            let _ = process::kill(process::getpid(), SIGKILL);
            4
        }
    }
}
