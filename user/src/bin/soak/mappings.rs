//! Random changes of one region, against a model of the permissions and contents of
//! each page.

use user::file::{self, Fd};
use user::memory::{self, PAGE, Protection, peek, poke};
use user::{Context, Errno, Verdict, ensure};

use super::Worker;

const PAGES: usize = 24;

/// The model of a page of the region.
#[derive(Clone, Copy, PartialEq)]
enum Page {
    Gone,
    ReadOnly(u8),
    Writable(u8),
}

/// Steps of mprotect, munmap, madvise and use, each with its change of the model.
pub(crate) fn mappings(worker: &mut Worker) -> Verdict {
    let start = memory::map(PAGES * PAGE, Protection::READ_WRITE).context("mmap")? as usize;
    let ends = file::pipe().context("pipe2")?;
    let mut pages = [Page::Writable(0); PAGES];
    for _ in 0..worker.random.between(5, 40) {
        step(worker, start, &mut pages)?;
        let index = worker.random.below(PAGES);
        check(start + index * PAGE, pages[index], ends).context(format_args!("page {index}"))?;
    }
    // SAFETY: only `peek`, `poke` and the kernel use it. Holes are no obstacle.
    unsafe { memory::unmap(start, PAGES * PAGE) }.context("munmap")?;
    ends.0.close().and_then(|()| ends.1.close()).context("close")
}

/// One change of a random range.
fn step(worker: &mut Worker, start: usize, pages: &mut [Page; PAGES]) -> Verdict {
    let first = worker.random.below(PAGES);
    let count = worker.random.between(1, (PAGES - first).min(6));
    let (address, len) = (start + first * PAGE, count * PAGE);
    let range = &mut pages[first..first + count];
    let holes = range.contains(&Page::Gone);
    match worker.random.below(8) {
        0 => {
            // SAFETY: only `peek`, `poke` and the kernel use the pages.
            unsafe { memory::unmap(address, len) }.context("munmap")?;
            range.fill(Page::Gone);
        }
        // Not over holes: pages before a hole are changed although the call fails.
        1 | 2 if !holes => {
            // SAFETY: only `peek`, `poke` and the kernel use the pages.
            unsafe { memory::protect(address, len, Protection::READ) }.context("mprotect")?;
            range.iter_mut().for_each(|page| {
                if let Page::Writable(mark) = *page {
                    *page = Page::ReadOnly(mark);
                }
            });
        }
        3 | 4 if !holes => {
            // SAFETY: only `peek`, `poke` and the kernel use the pages.
            unsafe { memory::protect(address, len, Protection::READ_WRITE) }.context("mprotect")?;
            range.iter_mut().for_each(|page| {
                if let Page::ReadOnly(mark) = *page {
                    *page = Page::Writable(mark);
                }
            });
        }
        5 if !holes => {
            // SAFETY: only `peek`, `poke` and the kernel use the pages.
            unsafe { memory::discard(address, len) }.context("madvise")?;
            range.iter_mut().for_each(|page| match page {
                Page::Gone => {}
                Page::ReadOnly(mark) | Page::Writable(mark) => *mark = 0,
            });
        }
        _ => {
            for (index, page) in range.iter_mut().enumerate() {
                if let Page::Writable(mark) = page {
                    *mark = worker.random.next_u64() as u8;
                    // SAFETY: our own, and writable.
                    unsafe { poke(address + index * PAGE, *mark) };
                }
            }
        }
    }
    Ok(())
}

/// Checks that the page at `address` is like `page`, to us and to the kernel.
fn check(address: usize, page: Page, (reader, writer): (Fd, Fd)) -> Verdict {
    let wrote = writer.write_at(address, 1);
    let (mark, writable) = match page {
        Page::Gone => {
            ensure!(wrote == Err(Errno::EFAULT), "write() from nothing: {wrote:?}");
            return Ok(());
        }
        Page::ReadOnly(mark) => (mark, false),
        Page::Writable(mark) => (mark, true),
    };
    ensure!(wrote == Ok(1), "write() from what is mapped: {wrote:?}");
    // SAFETY: the byte comes back unchanged, if the page is writable.
    let read = unsafe { reader.read_at(address, 1) };
    if writable {
        ensure!(read == Ok(1), "read() to what is writable: {read:?}");
    } else {
        ensure!(read == Err(Errno::EFAULT), "read() to what is read-only: {read:?}");
        let mut byte = [0];
        let count = reader.read(&mut byte).context("read")?;
        ensure!(count == 1 && byte[0] == mark, "the pipe gave {byte:?}, not {mark}");
    }
    let found = peek(address);
    ensure!(found == mark, "{found} instead of {mark}");
    Ok(())
}
