//! Address spaces: demand paging, copy-on-write, protection, and every frame back.

use alloc::string::String;
use alloc::vec::Vec;

use arch::addr::PAGE_SIZE;
use arch::uaccess;
use kcore::cpu::CpuId;
use kcore::mm::MmId;

use super::copies::copy_out;
use super::coprocessor::FakeCoprocessor;
use super::stage::{drain_borrows, flush_work, start_on};
use super::{Stop, Test, Verdict, check, check_eq};
use crate::errno::Errno;
use crate::machine::{NR_MMS, lazy_tlb};
use crate::memory::{Account, frame};
use crate::mm::{self, Backing, MapFlags, Prot};

pub(super) const TESTS: &[Test] = &[
    Test::new("mm_demand_zero", demand_zero),
    Test::new("mm_copy_on_write", copy_on_write),
    Test::new("mm_mprotect", mprotect),
    Test::new("mm_munmap_gives_frames_back", munmap_gives_frames_back),
    Test::new("mm_munmap_under_a_coprocessor", munmap_under_a_coprocessor),
    Test::new("mm_reservation_is_lazy", reservation_is_lazy),
    Test::new("mm_exit_gives_frames_back", exit_gives_frames_back),
    Test::new("mm_pid_reuse_is_lowest_first", pid_reuse),
    Test::new("mm_refused_without_a_pid", refused_without_a_pid),
];

const READ_WRITE: Prot = Prot::READ.union(Prot::WRITE);

pub(super) fn new_mm() -> Result<MmId, String> {
    mm::create().map_err(|errno| alloc::format!("no address space: errno {}", errno.0))
}

/// Maps `bytes` of fresh anonymous memory. Returns its start.
pub(super) fn map(mm: MmId, bytes: u64, prot: Prot) -> Result<u64, String> {
    mm::mmap(mm, 0, bytes, prot, MapFlags::PRIVATE | MapFlags::ANONYMOUS, Backing::Anonymous)
        .map_err(|errno| alloc::format!("mmap of {bytes:#x} bytes: errno {}", errno.0))
}

/// Runs `f` with `mm` loaded, as a kernel thread does that works for a process.
pub(super) fn inside<R>(mm: MmId, f: impl FnOnce() -> R) -> R {
    lazy_tlb().kthread_use_mm(mm);
    let result = f();
    lazy_tlb().kthread_unuse_mm(mm);
    result
}

/// The word that [`map_written_page`] writes.
pub(super) const WRITTEN: u32 = 0x1122_3344;

/// Maps a page in `mm` and writes it. Returns its address.
pub(super) fn map_written_page(mm: MmId) -> Result<u64, String> {
    let address = map(mm, PAGE_SIZE, READ_WRITE)?;
    write(mm, address, WRITTEN)?;
    Ok(address)
}

/// Stores `word` at `address` in `mm`, which is loaded for it.
pub(super) fn write(mm: MmId, address: u64, word: u32) -> Result<(), String> {
    inside(mm, || copy_out(address, &word.to_be_bytes()))
        .map_err(|_| alloc::format!("a write of {address:#x} in {mm:?} failed"))
}

/// The word at `address` in `mm`, which is loaded for it.
pub(super) fn read(mm: MmId, address: u64) -> Result<u32, String> {
    inside(mm, || uaccess::load_user_u32(address))
        .map_err(|_| alloc::format!("a read of {address:#x} in {mm:?} failed"))
}

/// The word at `address` in `mm`, as `cpu` reads it. The CPU is lazy on `mm` afterwards.
pub(super) fn read_on(cpu: CpuId, mm: MmId, address: u64) -> Result<u32, String> {
    start_on(cpu, move || read(mm, address)).result()
}

/// Drops the page at `page`: its frame is freed, and poisoned.
pub(super) fn forget(mm: MmId, page: u64) -> Result<(), String> {
    mm::madvise(mm, page, PAGE_SIZE, mm::Advice::DontNeed).map_err(|_| "madvise failed".into())
}

/// Stores `word` at `address` of `mm`, which need not be loaded.
pub(super) fn replace(mm: MmId, address: u64, word: u32) -> Result<(), String> {
    mm::poke(mm, address, &word.to_be_bytes()).map_err(|_| "poke failed".into())
}

/// Memory once no borrow is left and the dead are buried: two equal accounts in a row.
pub(super) fn settled_account() -> Account {
    let mut last = account();
    for _ in 0..MOST_ROUNDS {
        let now = account();
        if now == last {
            break;
        }
        last = now;
    }
    last
}

/// Fails unless memory returns to `before`. That may take a moment: a process can be waited for
/// before its tasks have given back all.
pub(super) fn check_account(before: Account, since: &str) -> Result<(), String> {
    let mut after = account();
    for _ in 0..MOST_ROUNDS {
        if after == before {
            break;
        }
        after = account();
    }
    check_eq!(after, before, alloc::format!("memory after {since}"));
    Ok(())
}

/// How often memory is looked at until it is settled. Each time every CPU runs two
/// tasks, so any task that is about to end has its turn.
pub(super) const MOST_ROUNDS: u32 = 50;

/// Memory when no borrow is left and all deferred work is done.
pub(super) fn account() -> Account {
    drain_borrows();
    flush_work();
    Account::now()
}

fn available_frames() -> u64 {
    settled_account().available_frames
}

fn demand_zero() -> Verdict {
    let mm = new_mm()?;
    let base = map(mm, 4 * PAGE_SIZE, READ_WRITE)?;
    check_eq!(read(mm, base + PAGE_SIZE)?, 0, "a page read before it was written");
    write(mm, base + PAGE_SIZE, 5)?;
    check_eq!(read(mm, base + PAGE_SIZE)?, 5, "the same page after a write");
    check_eq!(read(mm, base)?, 0, "its neighbour");
    lazy_tlb().mmput(mm);
    Ok(())
}

/// At the first store, or at once.
fn copy_on_write() -> Verdict {
    copies(|_| [0; 2])?;
    copies(|page| [0, page + 8])
}

fn copies(busy: impl FnOnce(u64) -> [u64; 2]) -> Verdict {
    let parent = new_mm()?;
    let page = map_written_page(parent)?;
    write(parent, page, 1)?;
    let child = mm::fork(parent, busy(page)).map_err(|errno| alloc::format!("fork: errno {}", errno.0))?;
    check_eq!(read(child, page)?, 1, "the child's copy before any write");
    write(parent, page, 2)?;
    check_eq!((read(parent, page)?, read(child, page)?), (2, 1), "parent and child after the parent's write");
    write(child, page, 3)?;
    check_eq!((read(parent, page)?, read(child, page)?), (2, 3), "parent and child after the child's write");
    lazy_tlb().mmput(child);
    write(parent, page, 4)?;
    check_eq!(read(parent, page)?, 4, "the parent after the child's end");
    lazy_tlb().mmput(parent);
    Ok(())
}

fn mprotect() -> Verdict {
    let mm = new_mm()?;
    let page = map_written_page(mm)?;
    let protect = |prot| {
        mm::mprotect(mm, page, PAGE_SIZE, prot, mm::Reach::Range)
            .map_err(|errno| alloc::format!("mprotect: errno {}", errno.0))
    };
    protect(Prot::READ)?;
    check!(write(mm, page, 9).is_err(), "a write after mprotect(READ) succeeded");
    check_eq!(read(mm, page)?, WRITTEN, "the page after the refused write");
    // Each takes away a permission that this CPU, lazy on the mm, may have in its TLB.
    for prot in [Prot::empty(), Prot::READ | Prot::EXEC, Prot::EXEC, Prot::empty()] {
        protect(prot)?;
        check_eq!(read(mm, page).is_ok(), prot.contains(Prot::READ), alloc::format!("a read after {prot:?}"));
    }
    protect(READ_WRITE)?;
    write(mm, page, 9)?;
    check_eq!(read(mm, page)?, 9, "the page after mprotect(READ, WRITE) and a write");
    lazy_tlb().mmput(mm);
    Ok(())
}

fn munmap_gives_frames_back() -> Verdict {
    const PAGES: u64 = 300;
    let mm = new_mm()?;
    // Tables for the range exist from here on.
    let base = map(mm, PAGES * PAGE_SIZE, READ_WRITE)?;
    let before = available_frames();
    for page in 0..PAGES {
        write(mm, base + page * PAGE_SIZE, page as u32)?;
    }
    let during = available_frames();
    check!(before - during >= PAGES, "{} frames taken by {PAGES} pages", before - during);
    mm::munmap(mm, base, PAGES * PAGE_SIZE).map_err(|errno| alloc::format!("munmap: errno {}", errno.0))?;
    check!(read(mm, base).is_err(), "a page can be read after its munmap");
    let back = available_frames() - during;
    check!(back >= PAGES, "{back} frames came back of {PAGES}");
    lazy_tlb().mmput(mm);
    Ok(())
}

/// This CPU alone is in the mask, and a local flush is not enough: the oracle checks.
fn munmap_under_a_coprocessor() -> Verdict {
    FakeCoprocessor::possible()?;
    let mm = new_mm()?;
    let page = map_written_page(mm)?;
    let coprocessor = FakeCoprocessor::attach(mm);
    mm::munmap(mm, page, PAGE_SIZE).map_err(|errno| alloc::format!("munmap: errno {}", errno.0))?;
    coprocessor.detach();
    lazy_tlb().mmput(mm);
    Ok(())
}

fn reservation_is_lazy() -> Verdict {
    let mm = new_mm()?;
    let before = available_frames();
    let base = map(mm, 128 << 20, Prot::empty())?;
    let taken = before - available_frames();
    check!(taken < 16, "a reservation took {taken} frames");
    check!(read(mm, base).is_err(), "reserved memory without protection can be read");
    lazy_tlb().mmput(mm);
    Ok(())
}

fn exit_gives_frames_back() -> Verdict {
    let round = || -> Result<(), String> {
        let mm = new_mm()?;
        let base = map(mm, 64 * PAGE_SIZE, READ_WRITE)?;
        for page in 0..64 {
            write(mm, base + page * PAGE_SIZE, 1)?;
        }
        let child = mm::fork(mm, [0; 2]).map_err(|errno| alloc::format!("fork: errno {}", errno.0))?;
        write(child, base, 2)?;
        lazy_tlb().mmput(mm);
        lazy_tlb().mmput(child);
        Ok(())
    };
    let before = settled_account();
    (0..8).try_for_each(|_| round())?;
    check_account(before, "eight rounds")?;
    Ok(())
}

/// A freed PID is the next one handed out, under a new generation.
fn pid_reuse() -> Verdict {
    drain_borrows();
    let first = new_mm()?;
    lazy_tlb().mmput(first);
    drain_borrows();
    let second = new_mm()?;
    check_eq!(second.pid(), first.pid(), "the PID of the next mm");
    check!(second != first, "{second:?} has the name of a freed mm");
    lazy_tlb().mmput(second);
    Ok(())
}

/// When all PIDs are in use, a new address space is refused, and the root made for it comes back.
fn refused_without_a_pid() -> Verdict {
    // The root of a tree takes 16 pages; the oracle keeps some more.
    if !frame::has_spare(NR_MMS as u64 * 24) {
        return Err(Stop::Skip("memory for all address spaces is missing"));
    }
    let before = settled_account();
    let mut mms = Vec::with_capacity(NR_MMS);
    let refused = loop {
        match mm::create() {
            Ok(mm) => mms.push(mm),
            Err(errno) => break errno,
        }
    };
    let made = mms.len();
    mms.drain(..).for_each(|mm| lazy_tlb().mmput(mm));
    drop(mms);
    check_eq!(refused, Errno::EAGAIN, "the answer to one more address space");
    check!(made > NR_MMS / 2, "only {made} address spaces were there");
    Ok(check_account(before, "all address spaces and their end")?)
}
