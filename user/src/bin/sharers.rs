//! Processes that share one table of descriptors (CLONE_FILES): each has
//! the other's descriptors, and the end of one closes nothing.
#![no_std]
#![no_main]

use user::process::{self, Status};
use user::{Context, Env, Verdict, ensure, file, println};

user::main!(main);

fn main(_: &Env) -> Verdict {
    let (reader, writer) = file::pipe().context("pipe2")?;
    let child = process::spawn_with_files(|| i32::from(writer.dup().is_err())).context("clone")?;
    ensure!(process::wait(child).context("wait4")? == Status::exit(0), "the child could not dup");
    // The lowest free descriptor besides the child's.
    let own = writer.dup().context("dup after the child's end")?;
    writer.close().context("close")?;
    own.close().context("close")?;
    // The child's copy still writes.
    let left = file::Fd(own.0 - 1);
    left.write_all(b"x").context("write to what the child opened")?;
    left.close().context("close")?;
    let mut bytes = [0; 2];
    ensure!(reader.read(&mut bytes).context("read")? == 1, "not one byte in the pipe");
    ensure!(reader.read(&mut bytes).context("read")? == 0, "somebody still has the pipe open");
    println!("what a sharer opened is there after its end");
    Ok(())
}
