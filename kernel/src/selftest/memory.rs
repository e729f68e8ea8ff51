//! The kernel's own memory: frames, heap and stacks, by all CPUs at once.

use alloc::vec::Vec;
use core::hint::black_box;

use arch::addr::PAGE_SIZE;
use arch::percpu::{self, STACK_SIZE, STACK_SLOT};

use super::address_space::{check_account, new_mm, settled_account};
use super::stage::{all_cpus, on_cpus};
use super::{Test, Verdict, check, check_eq};
use crate::machine::{NR_MMS, lazy_tlb};
use crate::memory::frame::{self, Frame};
use crate::memory::{Account, KernelStack, heap};
use crate::{oracle, println};

pub(super) const TESTS: &[Test] = &[
    Test::new("frame_stress_all_cpus", frame_stress),
    Test::new("frame_blocks_come_back", frame_blocks),
    Test::new("heap_grows_and_keeps_contents", heap_grows),
    Test::new("heap_small_blocks_are_used_again", small_blocks),
    Test::new("kstack_slots_and_recycling", kernel_stacks),
    Test::new("kstack_takes_its_frames", stack_frames),
    Test::new("oracle_takes_what_lives", oracle_memory),
];

/// Frames that a CPU of the stress holds at most.
const HELD: usize = 300;
const ROUNDS: u64 = 3000;

/// The shadow TLB's memory grows with the address spaces, and only a little with the CPUs: a kernel
/// with the oracle in it starts on a thousand CPUs.
fn oracle_memory() -> Verdict {
    const MMS: usize = 16;
    let cpus = lazy_tlb().nr_cpus();
    let before = settled_account();
    let mut mms = Vec::with_capacity(MMS);
    let heap_before = Account::now().heap_bytes;
    for _ in 0..MMS {
        mms.push(new_mm()?);
    }
    let each = (Account::now().heap_bytes - heap_before) / MMS;
    let (fixed, by_frames) = oracle::fixed_bytes();
    mms.drain(..).for_each(|mm| lazy_tlb().mmput(mm));
    drop(mms);
    println!("# the oracle takes {fixed} and {by_frames} bytes, and {each} an address space on {cpus} CPUs");
    check!(fixed <= 64 * (NR_MMS + 1), "{fixed} bytes of the oracle without an address space");
    check!(by_frames <= 12 * frame::end(), "{by_frames} bytes of the oracle for frames");
    check!(each > 0, "an address space without a shadow TLB");
    check!(each <= 2048 + 48 * cpus, "{each} bytes an address space on {cpus} CPUs");
    check_account(before, "address spaces with their shadows")?;
    Ok(())
}

/// Every CPU allocates, marks, shares and frees; no frame ever has two owners, and all come back.
/// (The allocator's own checks are the poison and the counts.)
fn frame_stress() -> Verdict {
    let before = settled_account();
    let foreign: u64 = on_cpus(&all_cpus(), || stress(percpu::cpu_id().index() as u64 + 1)).iter().sum();
    check_eq!(foreign, 0, "frames with another owner's mark");
    check_account(before, "the stress")?;
    Ok(())
}

/// How often a frame was found with another owner's contents.
fn stress(me: u64) -> u64 {
    let mut foreign = 0;
    let mut held: Vec<(Frame, u64)> = Vec::with_capacity(HELD);
    let mut random = me;
    for round in 0..ROUNDS {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let grow = held.is_empty() || (held.len() < HELD && random >> 63 == 0);
        if grow && let Some(frame) = frame::alloc() {
            let mark = me << 32 | round;
            // SAFETY: the frame is ours alone.
            unsafe { frame.as_mut_ptr().cast::<u64>().write(mark) };
            // Dropping a second reference frees nothing.
            drop(frame.share());
            held.push((frame, mark));
        } else if !held.is_empty() {
            let (frame, mark) = held.swap_remove((random >> 32) as usize % held.len());
            // SAFETY: the frame is ours alone; volatile, to see another owner's store.
            if unsafe { frame.as_mut_ptr().cast::<u64>().read_volatile() } != mark || !frame.is_sole() {
                foreign += 1;
            }
        }
    }
    foreign
}

/// Blocks of every order are aligned, and come back when all is free again, even
/// with all their frames freed one by one in between.
fn frame_blocks() -> Verdict {
    let before = settled_account();
    for order in 0..=10 {
        let block = frame::alloc_order(order);
        let Some(block) = block else { return Err(alloc::format!("no block of order {order}").into()) };
        check!(
            block.phys().0.is_multiple_of(PAGE_SIZE << order),
            "the block of order {order} at {:?} is not aligned to its size",
            block.phys()
        );
        let singles: Vec<_> = (0..200).map_while(|_| frame::alloc()).collect();
        drop(block);
        check_eq!(singles.len(), 200, "single frames beside a block");
    }
    check_account(before, "the blocks")?;
    Ok(())
}

/// A megabyte in odd pieces: the heap grows under way, and nothing overlaps.
fn heap_grows() -> Verdict {
    let mut pieces: Vec<Vec<u8>> = Vec::new();
    for size in (1..).map(|n: usize| n * 37 % 5000 + 1).take(600) {
        let mut piece = Vec::new();
        check!(piece.try_reserve_exact(size).is_ok(), "no {size} bytes");
        piece.resize(size, size as u8);
        pieces.push(piece);
    }
    let spoilt = pieces.iter().filter(|piece| piece.iter().any(|&byte| byte != piece.len() as u8)).count();
    check_eq!(spoilt, 0, "pieces of heap that another one overwrote");
    check!(!heap::ensure_room(usize::MAX / 4), "the heap promises more than there is");
    let before = settled_account();
    check!(Vec::<u8>::new().try_reserve_exact(1 << 40).is_err(), "a terabyte was handed out");
    let twice_of_all = 2 * (before.available_frames * PAGE_SIZE) as usize;
    check!(Vec::<u8>::new().try_reserve_exact(twice_of_all).is_err(), "more than all memory was handed out");
    check_account(before, "wishes that were refused")?;
    Ok(())
}

/// The address of a block of the heap that is given back at once.
fn block_of(bytes: usize) -> usize {
    let block = Vec::<u8>::with_capacity(bytes);
    black_box(block.as_ptr()).addr()
}

/// Blocks up to 1 KB come from lists by size, and are aligned to their size. The block that was
/// given back last is handed out next.
fn small_blocks() -> Verdict {
    for (bytes, rounded) in [(1, 32), (32, 32), (33, 64), (512, 512), (513, 1024), (1024, 1024)] {
        let at = block_of(bytes);
        check!(at.is_multiple_of(rounded), "a block of {bytes} bytes at {at:#x}");
        // Another CPU may take the block in between.
        let same_list = (0..100).any(|_| block_of(bytes) == block_of(rounded));
        check!(same_list, "a block of {bytes} bytes is not used again as one of {rounded}");
    }
    Ok(())
}

/// A new stack takes the frames of its pages, and now and then one for a table.
fn stack_frames() -> Verdict {
    const WANTED: usize = 8;
    let mut held = Vec::with_capacity(1000);
    let mut least = u64::MAX;
    let mut made = 0;
    while made < WANTED && held.len() < held.capacity() {
        let before = frame::free_count();
        held.push(KernelStack::new().ok_or("no kernel stack")?);
        let taken = before.saturating_sub(frame::free_count());
        if taken > 0 {
            (made, least) = (made + 1, least.min(taken));
        }
    }
    check_eq!(least, STACK_SIZE / PAGE_SIZE, "frames of a kernel stack");
    Ok(())
}

/// Tops are those of aligned slots and differ, and a stack that was given back is used again.
fn kernel_stacks() -> Verdict {
    let stacks: Option<Vec<_>> = (0..8).map(|_| KernelStack::new()).collect();
    let stacks = stacks.ok_or("no memory for 8 kernel stacks")?;
    let mut tops: Vec<_> = stacks.iter().map(KernelStack::top).collect();
    tops.sort_unstable();
    check!(tops.iter().all(|top| top.is_multiple_of(STACK_SLOT)), "a top is not a slot's end: {tops:x?}");
    check!(tops.windows(2).all(|pair| pair[0] < pair[1]), "a stack was handed out twice: {tops:x?}");
    drop(stacks);
    let again = KernelStack::new().ok_or("no kernel stack right after eight were given back")?;
    check!(tops.contains(&again.top()), "a fresh stack, although eight are free");
    Ok(())
}
