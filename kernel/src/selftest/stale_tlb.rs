//! No CPU reads through a translation that was taken away.
//!
//! A writer replaces the frame behind a page again and again; freed frames are poisoned, and moved
//! ones written to. Readers on every other CPU stay in the address space and read. They may see 0
//! (a fresh page), or a value no older than the one announced before their read. Poison, or an
//! older value, came through a stale translation.

use alloc::string::String;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use arch::addr::PAGE_SIZE;
use arch::uaccess;
use kcore::cpu::CpuId;
use kcore::mm::MmId;

use super::address_space::{forget, map, new_mm, replace};
use super::stage::{Helper, other_cpus, others, start_on};
use super::{Test, Verdict, check};
use crate::config::Config;
use crate::machine::lazy_tlb;
use crate::mm::{self, Prot, RemapFlags};

pub(super) const TESTS: &[Test] = &[
    Test { may_fail: Config::asynchronous_tlbie, ..Test::new("tlb_pte_flip", pte_flip) },
    Test { may_fail: Config::asynchronous_tlbie, ..Test::new("tlb_moved_page", moved_page) },
];

/// Takes the frame of a page away, and leaves a fresh page there.
type TakeAway = fn(MmId, u64) -> Result<(), String>;

const ROUNDS: u32 = 100;
/// A host runs few CPUs at a time: more readers only take longer.
const MOST_READERS: usize = 31;

static ANNOUNCED: AtomicU32 = AtomicU32::new(0);
static STOP: AtomicBool = AtomicBool::new(false);
static READS: AtomicU64 = AtomicU64::new(0);
/// A stale value, and the announced one: both 32 bits; 0 if none.
static STALE: AtomicU64 = AtomicU64::new(0);
static READERS_IN: AtomicU32 = AtomicU32::new(0);

/// mremap: moves the frame to another address, and stores another value to it there.
fn move_away(mm: MmId, page: u64) -> Result<(), String> {
    const FOREIGN: u32 = 0xdead_beef;
    let flags = RemapFlags::MAYMOVE | RemapFlags::DONTUNMAP;
    let moved = mm::mremap(mm, page, PAGE_SIZE, PAGE_SIZE, flags, 0).map_err(|_| "mremap failed")?;
    replace(mm, moved, FOREIGN)?;
    mm::munmap(mm, moved, PAGE_SIZE).map_err(|_| "munmap failed".into())
}

fn pte_flip() -> Verdict {
    replace_under_readers(forget)
}

fn moved_page() -> Verdict {
    replace_under_readers(move_away)
}

fn replace_under_readers(take_away: TakeAway) -> Verdict {
    let kernel = lazy_tlb();
    let [_] = others()?;
    let mm = new_mm()?;
    let page = map(mm, PAGE_SIZE, Prot::READ | Prot::WRITE)?;
    ANNOUNCED.store(0, Ordering::Relaxed);
    STOP.store(false, Ordering::Relaxed);
    READERS_IN.store(0, Ordering::Relaxed);
    let start = |cpu: CpuId| {
        kernel.mmget(mm);
        start_on(cpu, move || reader(mm, page))
    };
    let readers: alloc::vec::Vec<_> = other_cpus().into_iter().take(MOST_READERS).map(start).collect();
    while (READERS_IN.load(Ordering::Acquire) as usize) < readers.len() {
        crate::task::yield_now();
    }
    let flips = writer(mm, page, take_away);
    STOP.store(true, Ordering::Release);
    readers.iter().for_each(Helper::result);
    kernel.mmput(mm);
    flips?;
    let stale = STALE.swap(0, Ordering::Relaxed);
    check!(stale == 0, "a reader saw {:#x} after {} was announced", stale >> 32, stale as u32);
    check!(READS.load(Ordering::Relaxed) > 0, "no reader ever read");
    Ok(())
}

fn writer(mm: MmId, page: u64, take_away: TakeAway) -> Result<(), String> {
    for round in 1..=ROUNDS {
        replace(mm, page, round)?;
        // Release: orders the value before its announcement. Partner: the acquire in `reader`.
        ANNOUNCED.store(round, Ordering::Release);
        take_away(mm, page)?;
    }
    Ok(())
}

fn reader(mm: MmId, page: u64) {
    lazy_tlb().exec_mmap(mm);
    READERS_IN.fetch_add(1, Ordering::Release);
    while !STOP.load(Ordering::Acquire) {
        // Acquire: orders the announcement before the read. Partner: the release in the writer.
        let announced = ANNOUNCED.load(Ordering::Acquire);
        let Ok(value) = uaccess::load_user_u32(page) else { continue };
        READS.fetch_add(1, Ordering::Relaxed);
        if value != 0 && !(announced..=ROUNDS).contains(&value) {
            STALE.store(u64::from(value) << 32 | u64::from(announced), Ordering::Relaxed);
        }
    }
    lazy_tlb().exit_mm();
}
