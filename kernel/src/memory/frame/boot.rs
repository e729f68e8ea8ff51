//! Taking stock of memory: the allocator's own tables, carved from the memory that they describe.

use core::mem::{align_of, size_of};
use core::sync::atomic::AtomicU32;

use arch::addr::{PAGE_SHIFT, PAGE_SIZE, PhysAddr};
use arch::boot::BootInfo;
use arch::page;
use vm::boot_memory::for_each_free;
use vm::buddy::{Buddy, Link};

use super::cache::Cache;
use super::{FRAMES, Frames};
use crate::console::cannot_start;
use crate::sync::IrqLock;

/// A CPU's cache as it lies in memory: on cache lines of its own.
type LockedCache = IrqLock<Cache>;

/// The part of memory that is kept for the kernel's heap, and its limits in frames:
/// 512 KiB to 16 MiB.
const RESERVE_PART: u64 = 64;
const RESERVE_FRAMES: core::ops::RangeInclusive<u64> = 128..=4096;

/// The places of the three tables in the metadata, in bytes.
struct Layout {
    links: usize,
    caches: usize,
    /// The size of the metadata; whole pages.
    bytes: u64,
}

impl Layout {
    /// Counts first, then links, then caches.
    fn new(frames: usize, cpus: usize) -> Self {
        let links = (frames * size_of::<AtomicU32>()).next_multiple_of(align_of::<Link>());
        let caches = (links + frames * size_of::<Link>()).next_multiple_of(align_of::<LockedCache>());
        let end = (caches + cpus * size_of::<LockedCache>()) as u64;
        Self { links, caches, bytes: end.next_multiple_of(PAGE_SIZE) }
    }
}

/// Makes the frame allocator. Once, on the boot CPU, in real mode.
///
/// Touches the metadata (0.4 % of memory) and no other frame.
pub(in crate::memory) fn init(info: &BootInfo) {
    let memory = || info.memory.iter().map(|region| (region.base.0, region.size));
    let reserved = || info.reserved.iter().map(|region| (region.base.0, region.size));
    let end = memory().map(|(base, size)| base + size).max().expect("the firmware names no memory");
    let (frames, cpus) = ((end >> PAGE_SHIFT) as usize, info.cpus.len());
    let layout = Layout::new(frames, cpus);

    let mut home = None;
    for_each_free(memory(), reserved(), |start, end| {
        if home.is_none() && end - start >= layout.bytes {
            home = Some(start);
        }
    });
    let home = home.unwrap_or_else(|| {
        cannot_start(format_args!(
            "too little memory: no room for {} KiB of frame tables",
            layout.bytes >> 10
        ))
    });
    // SAFETY: free memory of this size, and no other CPU runs.
    let (counts, links, caches) = unsafe { carve(home, &layout, frames, cpus) };

    let mut buddy = Buddy::new(links);
    let taken = core::iter::once((home, layout.bytes));
    for_each_free(memory(), reserved().chain(taken), |start, end| {
        buddy.add_range((start >> PAGE_SHIFT) as u32, (end >> PAGE_SHIFT) as u32);
    });
    let total = buddy.free_frames();
    let reserve = (total / RESERVE_PART).clamp(*RESERVE_FRAMES.start(), *RESERVE_FRAMES.end());
    let buddy = IrqLock::new("the buddy allocator", buddy);
    // SAFETY: the boot CPU is alone.
    unsafe { FRAMES.set(Frames { counts, buddy, total, reserve, caches }) };
}

/// The tables' memory, cleared: no frame has a reference, none is free.
///
/// # Safety
/// The `layout.bytes` at `home` are memory without another user, now or later.
unsafe fn carve(
    home: u64,
    layout: &Layout,
    frames: usize,
    cpus: usize,
) -> (&'static [AtomicU32], &'static mut [Link], &'static [LockedCache]) {
    for at in (home..home + layout.bytes).step_by(PAGE_SIZE as usize) {
        // SAFETY: the caller's memory.
        unsafe { page::clear(PhysAddr(at)) };
    }
    let at = |offset: usize| PhysAddr(home + offset as u64);
    let caches = at(layout.caches).as_mut_ptr::<LockedCache>();
    for cpu in 0..cpus {
        // SAFETY: inside the memory, by the layout, and aligned.
        unsafe { caches.add(cpu).write(IrqLock::new("a frame cache", Cache::new())) };
    }
    // SAFETY: three disjoint, aligned parts of memory that is ours for ever;
    // zeroes are valid counts and links, and the caches were just written.
    unsafe {
        (
            core::slice::from_raw_parts(at(0).as_mut_ptr(), frames),
            core::slice::from_raw_parts_mut(at(layout.links).as_mut_ptr(), frames),
            core::slice::from_raw_parts(caches, cpus),
        )
    }
}
