//! `capture PROGRAM ARGUMENTS...`: runs a program and marks its output.
//!
//! On the console the lines of a program stand among the kernel's. Each line
//! that the program writes to standard output comes out as `NAME| line`, and
//! its end as `NAME: exit 3` or `NAME: signal 11`, so that a script can find them.
#![no_std]
#![no_main]

extern crate alloc;

use alloc::string::String;
use alloc::vec::Vec;
use core::ffi::CStr;

use user::file::{self, Fd, STDOUT};
use user::process;
use user::{Context, Env, eprintln, println};

user::main!(main);

fn main(env: &Env) -> i32 {
    let command: Vec<&CStr> = (1..).map_while(|index| env.arg_bytes(index)).collect();
    let Some(path) = env.arg(1) else {
        eprintln!("capture: what program?");
        return 2;
    };
    let name = path.rsplit('/').next().unwrap_or(path);
    match run(name, &command) {
        Ok(()) => 0,
        Err(why) => {
            eprintln!("capture: {why}");
            1
        }
    }
}

fn run(name: &str, command: &[&CStr]) -> Result<(), String> {
    let (reader, writer) = file::pipe().context("pipe2")?;
    let child = process::spawn(|| {
        let _ = reader.close();
        if let Err(why) = become_stdout(writer) {
            eprintln!("capture: standard output: {why}");
            return 126;
        }
        let why = process::exec(command[0], command, &[]);
        eprintln!("capture: {name}: {why}");
        127
    })
    .context("fork")?;
    writer.close().context("close")?;

    let mut line = Vec::from(name);
    line.extend(b"| ");
    let mark = line.len();
    let mut bytes = [0; 512];
    loop {
        let count = reader.read(&mut bytes).context("read")?;
        for &byte in &bytes[..count] {
            line.push(byte);
            if byte == b'\n' {
                STDOUT.write_all(&line).context("write")?;
                line.truncate(mark);
            }
        }
        if count == 0 {
            break;
        }
    }
    if line.len() > mark {
        line.push(b'\n');
        STDOUT.write_all(&line).context("write")?;
    }
    let status = process::wait(child).context("wait4")?;
    println!("{name}: {status}");
    Ok(())
}

/// dup gives the lowest free descriptor: 1, once that is closed.
fn become_stdout(writer: Fd) -> Result<(), user::Errno> {
    STDOUT.close()?;
    let copy = writer.dup()?;
    if copy != STDOUT {
        return Err(user::Errno::EBADF);
    }
    writer.close()
}
