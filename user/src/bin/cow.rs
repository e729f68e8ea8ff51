//! Copy on write: after fork each side sees its own writes only, in either
//! order of the writes, down several generations, and when the kernel writes.
#![no_std]
#![no_main]

extern crate alloc;

use user::file;
use user::memory::Region;
use user::process;
use user::{Context, Env, Verdict, ensure, println};

user::main!(main);

const PAGES: usize = 32;
const GENERATIONS: u8 = 5;

fn main(_env: &Env) -> Verdict {
    parent_first()?;
    println!("parent first: ok");
    child_first()?;
    println!("child first: ok");
    generations(1)?;
    println!("generations: ok");
    kernel_writes()?;
    println!("kernel writes: ok");
    Ok(())
}

fn parent_first() -> Verdict {
    let mut region = Region::new(PAGES).context("mmap")?;
    region.touch(1);
    let (reader, writer) = file::pipe().context("pipe2")?;
    let child = process::spawn(|| {
        // After the parent's write, the child still reads the old contents.
        let go = reader.read(&mut [0]) == Ok(1);
        let kept = region.touched_with(1);
        region.touch(3);
        i32::from(!(go && kept && region.touched_with(3)))
    })
    .context("fork")?;
    region.touch(2);
    writer.write_all(b"!").context("write")?;
    let status = process::wait(child).context("wait4")?;
    ensure!(status.success(), "the child saw the parent's writes: {status}");
    ensure!(region.touched_with(2), "the parent saw the child's writes");
    reader.close().context("close")?;
    writer.close().context("close")
}

fn child_first() -> Verdict {
    let mut region = Region::new(PAGES).context("mmap")?;
    region.touch(1);
    let child = process::spawn(|| {
        region.touch(2);
        i32::from(!region.touched_with(2))
    })
    .context("fork")?;
    let status = process::wait(child).context("wait4")?;
    ensure!(status.success(), "the child lost its writes: {status}");
    ensure!(region.touched_with(1), "the parent saw the child's writes");
    // The pages belong to the parent alone again.
    region.touch(3);
    ensure!(region.touched_with(3), "the parent lost its writes");
    Ok(())
}

/// A chain of processes, each of which writes one page and checks all others.
fn generations(depth: u8) -> Verdict {
    let mut region = Region::new(PAGES).context("mmap")?;
    region.touch(0);
    fn descend(region: &mut Region, depth: u8) -> i32 {
        let page = usize::from(depth) * user::memory::PAGE;
        region.bytes()[page] = depth;
        if depth < GENERATIONS {
            let child = process::spawn(|| descend(region, depth + 1));
            let Ok(Ok(status)) = child.map(process::wait) else {
                return 100;
            };
            if !status.success() {
                return i32::from(depth);
            }
        }
        let right = (0..PAGES).all(|index| {
            let expected = if index <= usize::from(depth) { index as u8 } else { 0 };
            region.bytes()[index * user::memory::PAGE] == expected
        });
        i32::from(!right)
    }
    let failed = descend(&mut region, depth);
    ensure!(failed == 0, "generation {failed} saw what it should not");
    Ok(())
}

/// read() into pages that both sides share: the kernel's store must copy too.
fn kernel_writes() -> Verdict {
    let mut region = Region::new(1).context("mmap")?;
    region.bytes().fill(1);
    let (reader, writer) = file::pipe().context("pipe2")?;
    writer.write_all(&[2; 100]).context("write")?;
    let child = process::spawn(|| {
        let bytes = region.bytes();
        let count = reader.read_full(&mut bytes[..100]);
        let right = bytes[..100] == [2; 100] && bytes[100] == 1;
        i32::from(!(count == Ok(100) && right))
    })
    .context("fork")?;
    let status = process::wait(child).context("wait4")?;
    ensure!(status.success(), "the child read something else: {status}");
    let kept = region.bytes().iter().all(|&byte| byte == 1);
    ensure!(kept, "the kernel wrote to the parent's page");
    reader.close().context("close")?;
    writer.close().context("close")
}
