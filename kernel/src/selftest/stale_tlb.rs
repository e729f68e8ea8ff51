//! No CPU reads through a translation that was taken away.
//!
//! A writer replaces the frame behind a page again and again; freed frames are
//! poisoned, and moved ones written to. Readers on every other CPU stay in the address space and look. What
//! they may see: 0 (a fresh page), or a value no older than the one announced
//! before their read. Poison, or an older value, came through a stale translation.

use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use arch::addr::PAGE_SIZE;
use arch::uaccess;
use kcore::mm::MmId;

use super::address_space::{map, new_mm};
use super::{Outcome, Test, Verdict, check};
use crate::config::Config;
use crate::machine::lazy_tlb;
use crate::mm::{self, Prot, RemapFlags};
use crate::task::kthread;

pub(super) const TESTS: &[Test] = &[
    Test { may_fail: Config::asynchronous_tlbie, ..Test::new("tlb_pte_flip", pte_flip) },
    Test { may_fail: Config::asynchronous_tlbie, ..Test::new("tlb_moved_page", moved_page) },
];

/// Takes the frame of a page away, and leaves a fresh page there.
type Replace = fn(MmId, u64) -> Result<(), alloc::string::String>;

const ROUNDS: u32 = 300;

static ANNOUNCED: AtomicU32 = AtomicU32::new(0);
static STOP: AtomicBool = AtomicBool::new(false);
static READS: AtomicU64 = AtomicU64::new(0);
/// The first stale value, and what had been announced: both 32 bits; 0 if none.
static STALE: AtomicU64 = AtomicU64::new(0);
static READERS_IN: AtomicU32 = AtomicU32::new(0);

/// madvise: the frame is freed, and poisoned.
fn forget(mm: MmId, page: u64) -> Result<(), alloc::string::String> {
    mm::madvise(mm, page, PAGE_SIZE, mm::Advice::DontNeed).map_err(|_| "madvise failed".into())
}

/// mremap: the frame is at another address from then on, where something else is stored
/// to it.
fn move_away(mm: MmId, page: u64) -> Result<(), alloc::string::String> {
    const FOREIGN: u32 = 0xdead_beef;
    let flags = RemapFlags::MAYMOVE | RemapFlags::DONTUNMAP;
    let moved = mm::mremap(mm, page, PAGE_SIZE, PAGE_SIZE, flags, 0).map_err(|_| "mremap failed")?;
    mm::poke(mm, moved, &FOREIGN.to_be_bytes()).map_err(|_| "poke failed")?;
    mm::munmap(mm, moved, PAGE_SIZE).map_err(|_| "munmap failed".into())
}

fn pte_flip() -> Verdict {
    replace_under_readers(forget)
}

fn moved_page() -> Verdict {
    replace_under_readers(move_away)
}

fn replace_under_readers(replace: Replace) -> Verdict {
    let kernel = lazy_tlb();
    let others = kernel.online().without(arch::percpu::cpu_id());
    if others.is_empty() {
        return Ok(Outcome::Skip("one CPU"));
    }
    let mm = new_mm()?;
    let page = map(mm, PAGE_SIZE, Prot::READ | Prot::WRITE)?;
    ANNOUNCED.store(0, Ordering::Relaxed);
    STOP.store(false, Ordering::Relaxed);
    READERS_IN.store(0, Ordering::Relaxed);
    let readers: alloc::vec::Vec<_> = others
        .iter()
        .map(|cpu| {
            kernel.mmget(mm);
            kthread::spawn_on(cpu, "tlb-reader", move || reader(mm, page))
        })
        .collect();
    while (READERS_IN.load(Ordering::Acquire) as usize) < readers.len() {
        crate::task::yield_now();
    }
    let flips = writer(mm, page, replace);
    STOP.store(true, Ordering::Release);
    readers.iter().for_each(|reader| reader.wait_exit());
    kernel.mmput(mm);
    flips?;
    let stale = STALE.swap(0, Ordering::Relaxed);
    check!(stale == 0, "a reader saw {:#x} after {} was announced", stale >> 32, stale as u32);
    check!(READS.load(Ordering::Relaxed) > 0, "no reader ever read");
    Ok(Outcome::Pass)
}

fn writer(mm: MmId, page: u64, replace: Replace) -> Result<(), alloc::string::String> {
    for round in 1..=ROUNDS {
        mm::poke(mm, page, &round.to_be_bytes()).map_err(|_| "poke failed")?;
        // Release: the value before its announcement.
        ANNOUNCED.store(round, Ordering::Release);
        replace(mm, page)?;
    }
    Ok(())
}

fn reader(mm: MmId, page: u64) {
    lazy_tlb().exec_mmap(mm);
    READERS_IN.fetch_add(1, Ordering::Release);
    while !STOP.load(Ordering::Acquire) {
        // Acquire: the announcement before the read.
        let announced = ANNOUNCED.load(Ordering::Acquire);
        let Ok(value) = uaccess::load_user_u32(page) else { continue };
        READS.fetch_add(1, Ordering::Relaxed);
        if value != 0 && !(announced..=ROUNDS).contains(&value) {
            STALE.store(u64::from(value) << 32 | u64::from(announced), Ordering::Relaxed);
        }
    }
    lazy_tlb().exit_mm();
}
