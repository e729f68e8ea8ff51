//! Mappings: zeroes, protections, holes, the break. Forbidden accesses run in
//! children, whose end shows the answer.
#![no_std]
#![no_main]

extern crate alloc;

use user::file;
use user::memory::{self, PAGE, Protection, Region, peek, poke};
use user::process::{SIGSEGV, Status};
use user::verdict::{child_ends, on_foreign_kernel};
use user::{Context, Env, Errno, Verdict, ensure, println};

user::main!(main);

/// Pages of 64K are possible: protections change in steps of this.
const STEP: usize = 0x1_0000;
const STEP_PAGES: usize = STEP / PAGE;

const SEGV: Status = Status::signal(SIGSEGV);

fn main(_env: &Env) -> Verdict {
    zeroes()?;
    println!("zeroes: ok");
    protections()?;
    println!("protections: ok");
    holes()?;
    println!("holes: ok");
    the_break()?;
    println!("break: ok");
    Ok(())
}

fn reads(address: usize) -> impl FnOnce() -> i32 {
    move || i32::from(peek(address))
}

fn writes(address: usize) -> impl FnOnce() -> i32 {
    move || {
        // SAFETY: a byte of a test region, in a child of its own.
        unsafe { poke(address, 0) };
        0
    }
}

fn zeroes() -> Verdict {
    for pages in [1, 3, 100, 1000] {
        let mut region = Region::new(pages).context("mmap")?;
        let zero = region.bytes().iter().step_by(64).all(|&byte| byte == 0);
        ensure!(zero, "new memory is not zero");
        region.bytes().fill(0xa5);
    }
    let mut region = Region::new(STEP_PAGES).context("mmap")?;
    region.bytes().fill(0xa5);
    // SAFETY: the region's bytes are read anew below.
    unsafe { memory::discard(region.address(), STEP) }.context("madvise")?;
    let zero = region.bytes().iter().all(|&byte| byte == 0);
    ensure!(zero, "discarded memory is not zero");
    Ok(())
}

fn protections() -> Verdict {
    let mut region = Region::new(2 * STEP_PAGES).context("mmap")?;
    region.bytes().fill(5);
    let (first, second) = (region.address(), region.address() + STEP);
    // SAFETY: only `peek`, `poke` and the kernel touch it until it is RW again.
    let protect = |protection| unsafe { memory::protect(first, STEP, protection) };

    protect(Protection::READ).context("mprotect")?;
    ensure!(peek(first) == 5, "the contents changed");
    child_ends("write to read-only", SEGV, writes(first))?;
    child_ends("write beside it", Status::exit(0), writes(second))?;
    let (reader, writer) = file::pipe().context("pipe2")?;
    writer.write_all(b"x").context("write")?;
    // SAFETY: the kernel must refuse to write there.
    let answer = unsafe { reader.read_at(first, 1) };
    ensure!(answer == Err(Errno::EFAULT), "read() to read-only: {answer:?}");

    protect(Protection::NONE).context("mprotect")?;
    child_ends("read of nothing", SEGV, reads(first))?;
    let answer = writer.write_at(first, 1);
    ensure!(answer == Err(Errno::EFAULT), "write() from nothing: {answer:?}");

    protect(Protection::READ_WRITE).context("mprotect")?;
    ensure!(region.touched_with(5), "the contents were lost");
    region.touch(6);

    // SAFETY: the address is not aligned, nothing happens.
    let answer = unsafe { memory::protect(first + 1, STEP, Protection::READ) };
    ensure!(answer == Err(Errno::EINVAL), "unaligned mprotect: {answer:?}");
    reader.close().context("close")?;
    writer.close().context("close")
}

fn holes() -> Verdict {
    const STEPS: usize = 5;
    let start = memory::map(STEPS * STEP, Protection::READ_WRITE).context("mmap")? as usize;
    let step = |index| start + index * STEP;
    for index in 0..STEPS {
        // SAFETY: inside the mapping.
        unsafe { poke(step(index), index as u8 + 1) };
    }
    // SAFETY: only `peek` and `poke` use the mapping, and they know the hole.
    unsafe { memory::unmap(step(2), STEP) }.context("munmap")?;
    for index in [0, 1, 3, 4] {
        ensure!(peek(step(index)) == index as u8 + 1, "step {index} was lost");
    }
    child_ends("read of a hole", SEGV, reads(step(2)))?;
    child_ends("write to a hole", SEGV, writes(step(2)))?;
    // SAFETY: only `peek` and `poke` use the mapping. The call fails, for the hole.
    let answer = unsafe { memory::protect(step(1), 3 * STEP, Protection::READ_WRITE) };
    ensure!(answer == Err(Errno::ENOMEM), "mprotect over a hole: {answer:?}");
    // SAFETY: only `peek` and `poke` use the mapping. Holes are no obstacle
    // to munmap.
    unsafe { memory::unmap(start, STEPS * STEP) }.context("munmap")?;
    child_ends("read of what is gone", SEGV, reads(step(4)))?;
    // SAFETY: nothing happens.
    let answer = unsafe { memory::unmap(start, 0) };
    ensure!(answer == Err(Errno::EINVAL), "munmap of nothing: {answer:?}");
    let answer = memory::map(0, Protection::READ);
    ensure!(answer == Err(Errno::EINVAL), "mmap of nothing: {answer:?}");
    Ok(())
}

fn the_break() -> Verdict {
    // SAFETY: nothing else uses the break: the heap is a mapping.
    let brk = |address| unsafe { memory::brk(address) };
    let start = brk(0);
    ensure!(start != 0, "there is no break");
    // Byte-granular: exactly the break that was asked for.
    for size in [3 * STEP + 123, STEP, 4 * STEP + 7] {
        let got = brk(start + size);
        ensure!(got == start + size, "asked for {size} more, got {}", got - start);
        let last = start + size - 1;
        ensure!(peek(last) == 0, "new memory is not zero");
        // SAFETY: below the break.
        unsafe { poke(last, 9) };
        ensure!(peek(last) == 9, "a write was lost");
    }
    let end = start.next_multiple_of(STEP) + STEP;
    ensure!(brk(end) == end, "the break did not go down");
    // qemu-ppc64 keeps the memory above a lowered break.
    if !on_foreign_kernel() {
        child_ends("read above the break", SEGV, reads(end))?;
    }
    // A page stays free between the break and the mapping above.
    if !on_foreign_kernel() {
        let above = end + 2 * STEP;
        memory::map_at(above, PAGE, Protection::READ).context("mmap above the break")?;
        ensure!(brk(above) == end, "the break came up to what is mapped above");
        ensure!(brk(above - PAGE) == above - PAGE, "the break stayed away from what is mapped above");
        ensure!(brk(end) == end, "the break did not go down");
        // SAFETY: mapped here, and nothing refers to it.
        unsafe { memory::unmap(above, PAGE) }.context("munmap")?;
    }
    // A child has a break of its own, which starts as its parent's.
    child_ends("a child's break", Status::exit(0), || {
        i32::from(brk(0) != end || brk(end + STEP) != end + STEP || peek(end) != 0)
    })?;
    ensure!(brk(0) == end, "a child moved its parent's break");
    ensure!(brk(1) == end, "a break below the program was not refused");
    ensure!(brk(start) == start, "the break did not go back");
    Ok(())
}
