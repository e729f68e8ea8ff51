//! Unmapping flushes as little as it may: once per batch of frames.

use arch::addr::PAGE_SIZE;

use super::address_space::{inside, map, new_mm};
use super::copies::copy_out;
use super::stage::total;
use super::{Test, Verdict, check_eq};
use crate::machine::lazy_tlb;
use crate::mm::{self, Prot};

pub(super) const TESTS: &[Test] = &[Test::new("gather_flushes_by_the_batch", by_the_batch)];

/// One flush for a page and for a hundred, two for more than a batch, and none for
/// pages that were never touched.
fn by_the_batch() -> Verdict {
    let flushes = || total(|c| &c.flush_none) + total(|c| &c.flush_local) + total(|c| &c.flush_global);
    let mm = new_mm()?;
    // In a table of their own, which a page behind them keeps.
    for (pages, written, expected) in [(1, 1, 1), (100, 100, 1), (480, 480, 1), (700, 700, 2), (100, 0, 0)] {
        let base = map(mm, (pages + 1) * PAGE_SIZE, Prot::READ | Prot::WRITE)?;
        let kept = base + pages * PAGE_SIZE;
        for page in (0..written).chain([pages]) {
            inside(mm, || copy_out(base + page * PAGE_SIZE, &[1])).map_err(|_| "a page cannot be written")?;
        }
        let before = flushes();
        mm::munmap(mm, base, pages * PAGE_SIZE)
            .map_err(|errno| alloc::format!("munmap: errno {}", errno.0))?;
        check_eq!(flushes() - before, expected, alloc::format!("flushes for {written} of {pages} pages"));
        mm::munmap(mm, kept, PAGE_SIZE).map_err(|errno| alloc::format!("munmap: errno {}", errno.0))?;
    }
    lazy_tlb().mmput(mm);
    Ok(())
}
