//! Pipes: more than they hold, the end, writers without readers, bad pointers.
#![no_std]
#![no_main]

extern crate alloc;

use user::file::{self, Fd};
use user::memory::{self, PAGE, Protection};
use user::process::{self, SIGPIPE, Status};
use user::verdict::child_ends;
use user::{Context, Env, Errno, Verdict, ensure, println};

user::main!(main);

/// More than any pipe holds: the writer must sleep.
const STREAM_BYTES: usize = 200_000;
const UNMAPPED: usize = 0x1000;

fn main(_env: &Env) -> Verdict {
    stream()?;
    println!("stream: ok");
    both_ways()?;
    println!("both ways: ok");
    ends()?;
    println!("ends: ok");
    pages()?;
    println!("pages: ok");
    errors()?;
    println!("errors: ok");
    Ok(())
}

/// Byte `at` of the stream; the period is prime, so it fits no buffer.
fn pattern(at: usize) -> u8 {
    (at % 251) as u8
}

fn stream() -> Verdict {
    let (reader, writer) = file::pipe().context("pipe2")?;
    let child = process::spawn(|| {
        let mut at = 0;
        let mut bytes = [0; 777];
        while at < STREAM_BYTES {
            let count = bytes.len().min(STREAM_BYTES - at);
            for (index, byte) in bytes[..count].iter_mut().enumerate() {
                *byte = pattern(at + index);
            }
            if writer.write_all(&bytes[..count]).is_err() {
                return 1;
            }
            at += count;
        }
        0
    })
    .context("fork")?;
    writer.close().context("close")?;

    let mut at = 0;
    let mut bytes = [0; 1000];
    loop {
        let count = reader.read(&mut bytes).context("read")?;
        if count == 0 {
            break;
        }
        let right = (0..count).all(|index| bytes[index] == pattern(at + index));
        ensure!(right, "wrong bytes after {at}");
        at += count;
    }
    ensure!(at == STREAM_BYTES, "the stream ended after {at} bytes");
    reader.close().context("close")?;
    let status = process::wait(child).context("wait4")?;
    ensure!(status.success(), "the writer ended with {status}");
    Ok(())
}

fn both_ways() -> Verdict {
    let (to_child, from_parent) = {
        let (reader, writer) = file::pipe().context("pipe2")?;
        (writer, reader)
    };
    let (from_child, to_parent) = file::pipe().context("pipe2")?;
    let child = process::spawn(|| {
        let _ = to_child.close();
        let mut byte = [0];
        while from_parent.read(&mut byte) == Ok(1) {
            byte[0] += 1;
            if to_parent.write_all(&byte).is_err() {
                return 1;
            }
        }
        0
    })
    .context("fork")?;
    for value in 0..200 {
        let mut byte = [value];
        to_child.write_all(&byte).context("write")?;
        let count = from_child.read(&mut byte).context("read")?;
        ensure!(count == 1 && byte[0] == value + 1, "{value} came back as {byte:?}");
    }
    to_child.close().context("close")?;
    let status = process::wait(child).context("wait4")?;
    ensure!(status.success(), "the child ended with {status}");
    for end in [from_parent, from_child, to_parent] {
        end.close().context("close")?;
    }
    Ok(())
}

fn ends() -> Verdict {
    let (reader, writer) = file::pipe().context("pipe2")?;
    // A second name of the writing end keeps the pipe open.
    let second = writer.dup().context("dup")?;
    writer.close().context("close")?;
    second.write_all(b"last").context("write")?;
    second.close().context("close")?;
    let mut bytes = [0; 8];
    let count = reader.read_full(&mut bytes).context("read")?;
    ensure!(&bytes[..count] == b"last", "{count} bytes before the end");
    reader.close().context("close")?;

    let (reader, writer) = file::pipe().context("pipe2")?;
    reader.close().context("close")?;
    child_ends("SIGPIPE", Status::signal(SIGPIPE), || i32::from(writer.write_all(b"x").is_err()))?;
    child_ends("EPIPE", Status::exit(0), || {
        if process::ignore(SIGPIPE).is_err() {
            return 1;
        }
        i32::from(writer.write(b"x") != Err(Errno::EPIPE))
    })?;
    writer.close().context("close")
}

/// Bytes from and to pages that are not there yet, over the borders of pages of memory and of the
/// pipe.
fn pages() -> Verdict {
    const BYTES: usize = 2 * PAGE - 2;
    let (reader, writer) = file::pipe().context("pipe2")?;
    writer.write_all(&[1; 100]).context("write")?;
    for part in [PAGE, BYTES - PAGE] {
        let source = memory::map(2 * PAGE, Protection::READ_WRITE).context("mmap")?;
        let answer = writer.write_at(source.addr() + PAGE - 1, part);
        ensure!(answer == Ok(part), "write from new pages: {answer:?}");
    }
    let target = memory::map(3 * PAGE, Protection::READ_WRITE).context("mmap")?;
    let start = target.wrapping_add(PAGE - 100);
    let mut done = 0;
    while done < 100 + BYTES {
        // SAFETY: the bytes lie within the mapping, which nobody else uses.
        done += unsafe { reader.read_at(start.addr() + done, 100 + BYTES - done) }.context("read")?;
    }
    // SAFETY: as before.
    let bytes = unsafe { core::slice::from_raw_parts(start, done) };
    ensure!(bytes[..100] == [1; 100] && bytes[100..].iter().all(|&byte| byte == 0), "other bytes");
    reader.close().context("close")?;
    writer.close().context("close")
}

fn errors() -> Verdict {
    let (reader, writer) = file::pipe().context("pipe2")?;
    let answer = writer.write_at(UNMAPPED, 8);
    ensure!(answer == Err(Errno::EFAULT), "write from nowhere: {answer:?}");
    writer.write_all(b"12345678").context("write")?;
    // SAFETY: nothing is mapped there.
    let answer = unsafe { reader.read_at(UNMAPPED, 8) };
    ensure!(answer == Err(Errno::EFAULT), "read to nowhere: {answer:?}");
    let mut bytes = [0; 8];
    let answer = reader.read(&mut bytes);
    ensure!(answer == Ok(8) && bytes == *b"12345678", "after a read to nowhere: {answer:?} {bytes:?}");
    let answer = writer.read(&mut [0]);
    ensure!(answer == Err(Errno::EBADF), "read from a writer: {answer:?}");
    let answer = reader.write(b"x");
    ensure!(answer == Err(Errno::EBADF), "write to a reader: {answer:?}");
    reader.close().context("close")?;
    writer.close().context("close")?;
    let answer = Fd(reader.0).close();
    ensure!(answer == Err(Errno::EBADF), "close twice: {answer:?}");
    Ok(())
}
