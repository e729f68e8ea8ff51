//! Page frames and the references to them.
//!
//! Free frames are in a buddy allocator behind a lock, and in small per-CPU caches in front of
//! it, which serve single frames. Every frame has a reference count: page tables, shared objects
//! and forked children may all hold one frame. A [`Frame`] is one reference, and dropping the
//! last one frees.
//!
//! A free frame is poisoned, and the poison is checked when the frame is handed out again: this
//! finds writes through a stale translation.
//!
//! The last frames are a reserve for the kernel's own heap, which serves requests that cannot be
//! refused. All other requests fail before it is touched.
//!
//! Everything works in real mode before the heap exists, and at any time from any
//! context: the locks are taken with interrupts off, hold nothing else, and are
//! innermost (a cache outside the buddy).

mod boot;
mod cache;
mod poison;

use core::mem::ManuallyDrop;
use core::sync::atomic::{AtomicU32, Ordering, fence};

use arch::addr::{PAGE_SHIFT, PAGE_SIZE, PhysAddr};
use arch::page;
use kcore::cpu::CpuId;
use vm::buddy::Buddy;

use crate::oracle;
use crate::sync::{Fixed, IrqLock};
pub(super) use boot::init;
use cache::{Cache, ZEROES_ORDER};

/// The number of a frame: its physical address without the offset bits.
pub(crate) type FrameNumber = u32;

/// The count of a frame that is free and poisoned. Zero, the count after boot,
/// is a frame that was never handed out, whose contents are arbitrary.
const FREE: u32 = u32::MAX;
/// Counts are below this, unless the kernel is broken.
const MOST_REFERENCES: u32 = 1 << 30;

/// The sixteen parts of a leaf page table are above its one reference.
const PARTS_SHIFT: u32 = 8;

/// The state of all page frames.
struct Frames {
    /// References to each frame; of a block, at its first frame. Of a leaf page table also its
    /// parts, from bit [`PARTS_SHIFT`] on.
    counts: &'static [AtomicU32],
    buddy: IrqLock<Buddy<'static>>,
    /// How many frames there are to hand out.
    total: u64,
    /// How many frames of the buddy allocator only the heap may take.
    reserve: u64,
    caches: &'static [IrqLock<Cache>],
}

static FRAMES: Fixed<Frames> = Fixed::unset();

/// One reference to a frame, or to a block of 2^order frames.
pub(crate) struct Frame {
    number: FrameNumber,
    order: u32,
}

impl Frame {
    /// Its physical address.
    #[inline]
    pub(crate) fn phys(&self) -> PhysAddr {
        PhysAddr(u64::from(self.number) << PAGE_SHIFT)
    }

    /// Its first byte, through the linear map.
    #[inline]
    pub(crate) fn as_mut_ptr(&self) -> *mut u8 {
        self.phys().as_mut_ptr()
    }

    /// One more reference to it.
    #[inline]
    pub(crate) fn share(&self) -> Frame {
        Counts::get().share(self.phys());
        Frame { number: self.number, order: self.order }
    }

    /// Whether this is the only reference, so that no other CPU can add one.
    #[inline]
    pub(crate) fn is_sole(&self) -> bool {
        // F34 acquire: orders the count, so the other holders' accesses to the frame, before our
        // accesses. Partner: `drop_reference`.
        count_of(self.number).load(Ordering::Acquire) == 1
    }

    /// Gives the reference to something that is not a `Frame`: a page-table entry, say.
    #[inline]
    pub(crate) fn leak(self) -> PhysAddr {
        ManuallyDrop::new(self).phys()
    }

    /// The single frames of a block, a reference to each, in order.
    pub(crate) fn split(self) -> impl Iterator<Item = Frame> {
        let first = ManuallyDrop::new(self);
        (first.number..first.number + (1 << first.order)).map(|number| {
            count_of(number).store(1, Ordering::Relaxed);
            Frame { number, order: 0 }
        })
    }

    /// Takes back the reference that [`Frame::leak`] gave away.
    ///
    /// # Safety
    /// The caller owns that reference and gives it up; `order` is the block's.
    #[inline]
    pub(crate) unsafe fn from_phys(phys: PhysAddr, order: u32) -> Frame {
        Frame { number: (phys.0 >> PAGE_SHIFT) as FrameNumber, order }
    }
}

/// The counts of all frames, for loops over many.
#[derive(Clone, Copy)]
pub(crate) struct Counts(&'static [AtomicU32]);

impl Counts {
    /// Them.
    #[inline]
    pub(crate) fn get() -> Counts {
        Counts(FRAMES.counts)
    }

    /// One more reference to the frame at `phys`, to which the caller has one.
    #[inline]
    pub(crate) fn share(self, phys: PhysAddr) {
        let number = (phys.0 >> PAGE_SHIFT) as FrameNumber;
        // Relaxed: the holder of a reference may hand out more, as in `Arc`.
        let before = self.0[number as usize].fetch_add(1, Ordering::Relaxed);
        assert!(before.wrapping_sub(1) < MOST_REFERENCES, "frame {number:#x} shared after its end");
    }
}

impl Drop for Frame {
    fn drop(&mut self) {
        if !drop_reference(count_of(self.number), self.number) {
            return;
        }
        (self.number..self.number + (1 << self.order)).for_each(|each| retire(count_of(each), each));
        match self.order {
            0 => put_in_cache(&[self.number]),
            order => FRAMES.buddy.lock().free(self.number, order as usize),
        }
    }
}

/// A frame with arbitrary contents; none if memory is exhausted.
#[inline(never)]
pub(crate) fn alloc() -> Option<Frame> {
    take(FRAMES.reserve)
}

/// A frame full of zeroes, also from the reserve: for the kernel's heap.
pub(crate) fn alloc_zeroed_from_reserve() -> Option<Frame> {
    take(0).map(zeroed)
}

/// Whether the buddy allocator has `frames` besides the reserve at this moment. If not, the CPUs'
/// caches give back what they have.
pub(crate) fn has_spare(frames: u64) -> bool {
    let has = || FRAMES.buddy.lock().free_frames() >= FRAMES.reserve.saturating_add(frames);
    has() || {
        drain_caches();
        has()
    }
}

/// Whether the heap has taken much of the reserve.
pub(crate) fn reserve_is_low() -> bool {
    FRAMES.buddy.lock().free_frames() < FRAMES.reserve / 2
}

/// A frame, while more than `left` stay in the buddy allocator.
#[inline(always)]
fn take(left: u64) -> Option<Frame> {
    let frames = FRAMES.get();
    let cached = cache_of(frames).lock().take(&frames.buddy, left);
    let number = cached.or_else(|| take_after_draining(left))?;
    let count = &frames.counts[number as usize];
    poison::check_if_poisoned(number, count);
    count.store(1, Ordering::Relaxed);
    Some(Frame { number, order: 0 })
}

/// A frame full of zeroes. Inlined into page faults.
#[inline(always)]
pub(crate) fn alloc_zeroed() -> Option<Frame> {
    take(FRAMES.get().reserve).map(zeroed)
}

#[inline]
fn zeroed(frame: Frame) -> Frame {
    // SAFETY: it was just allocated: only we have it.
    unsafe { page::clear(frame.phys()) };
    frame
}

/// A block of 2^`order` frames, aligned to its size, with arbitrary contents.
pub(crate) fn alloc_order(order: u32) -> Option<Frame> {
    let take = || {
        let mut buddy = FRAMES.buddy.lock();
        let left = buddy.free_frames().checked_sub(1 << order)?;
        (left >= FRAMES.reserve).then(|| buddy.alloc(order as usize))?
    };
    let number = take().or_else(|| {
        drain_caches();
        take()
    })?;
    (number..number + (1 << order)).for_each(|each| poison::check_if_poisoned(each, count_of(each)));
    count_of(number).store(1, Ordering::Relaxed);
    Some(Frame { number, order })
}

/// As [`alloc_order`], full of zeroes.
// Not inlined: a root that this CPU keeps costs no registers for it.
#[inline(never)]
pub(crate) fn alloc_order_zeroed(order: u32) -> Option<Frame> {
    let block = alloc_order(order)?;
    for page in 0..1 << order {
        // SAFETY: only we have the block.
        unsafe { page::clear(PhysAddr(block.phys().0 + page * PAGE_SIZE)) };
    }
    Some(block)
}

/// A block of 2^4 frames full of zeroes, for a root of page tables: one that this CPU keeps, if
/// any.
pub(crate) fn alloc_zeroes() -> Option<Frame> {
    let Some(number) = cache_of(FRAMES.get()).lock().take_zeroes() else {
        return alloc_order_zeroed(ZEROES_ORDER);
    };
    let counts = counts_of_zeroes(number);
    for (count, each) in counts.iter().zip(number..) {
        poison::check_if_zero(each, count);
    }
    counts[0].store(1, Ordering::Relaxed);
    Some(Frame { number, order: ZEROES_ORDER })
}

/// Frees the block at `phys`, which [`alloc_zeroes`] gave and which is full of zeroes again.
///
/// # Safety
/// The caller owns the only reference to it and gives it up.
pub(crate) unsafe fn free_zeroes(phys: PhysAddr) {
    let number = (phys.0 >> PAGE_SHIFT) as FrameNumber;
    let counts = counts_of_zeroes(number);
    // F34 acquire: orders the count before the block's reuse. Partner: `drop_reference`.
    assert!(counts[0].load(Ordering::Acquire) == 1, "block {number:#x} is freed with other references");
    for (count, each) in counts.iter().zip(number..) {
        oracle::frame_freed(each);
        count.store(FREE, Ordering::Relaxed);
    }
    cache_of(FRAMES.get()).lock().put_zeroes(number, &FRAMES.buddy);
}

/// Adds to the parts of the leaf page table at `table`, a frame with one reference. Under the lock of its
/// address space, as the other two.
#[inline(always)]
pub(crate) fn add_parts(table: PhysAddr, parts: u16) {
    let count = count_at(table);
    let before = count.load(Ordering::Relaxed);
    count.store(before | u32::from(parts) << PARTS_SHIFT, Ordering::Relaxed);
}

/// The parts of the leaf page table at `table`.
#[inline(always)]
pub(crate) fn parts_of(table: PhysAddr) -> u16 {
    (count_at(table).load(Ordering::Relaxed) >> PARTS_SHIFT) as u16
}

/// The page table at `table` serves nothing any more: forgets its parts.
#[inline]
pub(crate) fn forget_parts(table: PhysAddr) {
    let count = count_at(table);
    let before = count.load(Ordering::Relaxed);
    assert!(before % (1 << PARTS_SHIFT) == 1, "a page table with references: {before:#x} at {:#x}", table.0);
    count.store(1, Ordering::Relaxed);
}

/// Frame numbers are below this. Not every one of them is memory.
pub(crate) fn end() -> usize {
    FRAMES.counts.len()
}

/// How many frames are free; exact if no CPU allocates or frees meanwhile.
pub(crate) fn free_count() -> u64 {
    let cached: u64 = FRAMES.caches.iter().map(|cache| cache.lock().len() as u64).sum();
    cached + FRAMES.buddy.lock().free_frames()
}

/// How many frames there are: free or handed out.
pub(crate) fn total_count() -> u64 {
    FRAMES.total
}

/// Drops one reference to each of these single frames.
///
/// # Safety
/// The caller owns those references, and no translation leads there any more.
pub(crate) unsafe fn drop_references(mut references: &mut [FrameNumber]) {
    let counts = FRAMES.counts;
    let is_last = |&number: &FrameNumber| {
        let count = &counts[number as usize];
        let last = drop_reference(count, number);
        if last {
            retire(count, number);
        }
        last
    };
    let mut freed = 0;
    while let Some(others) = references[freed..].iter().position(|number| !is_last(number)) {
        // This one has another holder: the last one comes in its place.
        freed += others;
        references[freed] = references[references.len() - 1];
        (_, references) = references.split_last_mut().expect("`freed` is one of them");
    }
    put_in_cache(references);
}

/// Takes a reference to frame `number` away; true if it was the last.
#[inline(always)]
fn drop_reference(count: &AtomicU32, number: FrameNumber) -> bool {
    // A sole owner needs no atomic update: no other CPU can be changing the count.
    if count.load(Ordering::Relaxed) != 1 {
        // F34 release: orders our accesses to the frame before the count. Partners: `drop_reference`
        // of the last holder, `is_sole`, `free_zeroes`.
        let before = count.fetch_sub(1, Ordering::Release);
        if before.wrapping_sub(1) >= MOST_REFERENCES {
            freed_twice(number, before);
        }
        if before != 1 {
            return false;
        }
    }
    // F34 acquire: orders the count, so the other holders' accesses, before the last holder's reuse.
    // Partner: `drop_reference`.
    fence(Ordering::Acquire);
    true
}

#[cold]
fn freed_twice(number: FrameNumber, count: u32) -> ! {
    panic!("frame {number:#x} freed twice (count {count:#x})")
}

/// Marks a frame without references as free, before it goes on a free list.
#[inline(always)]
fn retire(count: &AtomicU32, number: FrameNumber) {
    oracle::frame_freed(number);
    poison::write(number);
    count.store(FREE, Ordering::Relaxed);
}

#[inline]
fn count_of(number: FrameNumber) -> &'static AtomicU32 {
    &FRAMES.counts[number as usize]
}

/// The counts of the frames of a block of zeroes.
fn counts_of_zeroes(number: FrameNumber) -> &'static [AtomicU32; 1 << ZEROES_ORDER] {
    FRAMES.counts[number as usize..].first_chunk().expect("a block ends behind the last frame")
}

#[inline(always)]
fn count_at(page: PhysAddr) -> &'static AtomicU32 {
    count_of((page.0 >> PAGE_SHIFT) as FrameNumber)
}

/// This CPU's cache. A move to another CPU right after does no harm: the cache has a lock.
#[inline(always)]
fn cache_of(frames: &Frames) -> &IrqLock<Cache> {
    &frames.caches[arch::percpu::cpu_id().index()]
}

#[inline]
fn put_in_cache(numbers: &[FrameNumber]) {
    let frames = FRAMES.get();
    if numbers.len() > cache::BATCH {
        // More than a batch would only pass through the cache.
        return frames.buddy.lock().free_singles(numbers);
    }
    let mut cache = cache_of(frames).lock();
    numbers.iter().for_each(|&number| cache.put(number, &frames.buddy));
}

/// Memory is exhausted, but other CPUs may have some frames left.
#[cold]
fn take_after_draining(left: u64) -> Option<FrameNumber> {
    drain_caches();
    let frames = FRAMES.get();
    cache_of(frames).lock().take(&frames.buddy, left)
}

/// Gives back the frames in the cache of `cpu`, which has gone offline.
pub(crate) fn drain_cache_of(cpu: CpuId) {
    FRAMES.caches[cpu.index()].lock().drain(&FRAMES.buddy);
}

#[cold]
fn drain_caches() {
    FRAMES.caches.iter().for_each(|cache| cache.lock().drain(&FRAMES.buddy));
}
