//! `abuse DEED...`: asks the kernel for more than there is.
//!
//! Each deed runs in a child, and its end is one line, `DEED: exit 0` or `DEED:
//! signal 9`. For a deed that is refused, a line names the error. The parent,
//! which may be init, survives all of them and can still fork and allocate. With
//! `self` before the deed the program itself does it.
#![no_std]
#![no_main]

extern crate alloc;

mod calls;
mod deeds;
mod full;

use alloc::string::String;

use deeds::DEEDS;
use user::memory::Region;
use user::process::{self, Pid, Status};
use user::{Context, Env, Verdict, ensure, println};

user::main!(main);

fn main(env: &Env) -> Verdict {
    let alone = env.arg(1) == Some("self");
    for name in env.args().skip(if alone { 2 } else { 1 }) {
        let (word, number) = name.split_once('=').unwrap_or((name, ""));
        let known = DEEDS.iter().find(|deed| deed.0 == word).ok_or(name);
        let deed = known.context("no such deed")?.1;
        let number = number.parse().unwrap_or(0);
        if alone {
            deed(number);
            continue;
        }
        let child = process::spawn(|| {
            deed(number);
            0
        });
        let status = wait(child.context("fork")?)?;
        println!("{name}: {status}");
        still_works().context(name)?;
    }
    Ok(())
}

/// Waits for `child`, and then for all that it leaves behind: if we are init, its
/// orphans come to us, also while it still runs.
fn wait(child: Pid) -> Result<Status, String> {
    loop {
        let (pid, status) = process::wait_any().context("wait")?;
        if pid == child {
            while process::wait_any().is_ok() {}
            return Ok(status);
        }
    }
}

/// Checks that memory and processes are available again.
fn still_works() -> Verdict {
    let pid = process::spawn(|| {
        let Ok(mut region) = Region::new(64) else { return 1 };
        region.touch(7);
        i32::from(!region.touched_with(7))
    });
    let status = process::wait(pid.context("fork")?).context("wait")?;
    ensure!(status == Status::exit(0), "afterwards a child ends with {status}");
    Ok(())
}
