//! exec by a process of several threads. The others end, also those that are just
//! being made. If two exec at once, one goes on.
#![no_std]
#![no_main]

extern crate alloc;

use alloc::sync::Arc;
use core::ffi::CStr;

use user::process::{self, Status};
use user::sync::Barrier;
use user::{Context, Env, Errno, Verdict, ensure, kinds, println, thread};

user::main!(main);

const ROUNDS: usize = 20;

fn main(env: &Env) -> Verdict {
    if env.arg(0).is_none_or(|name| !name.ends_with("execs")) {
        process::exit_group(started_as(env));
    }
    passes_on()?;
    refuses()?;
    for _ in 0..ROUNDS {
        ends_well("exec while a thread makes threads", || {
            let began = Arc::new(Barrier::new(2));
            let maker = began.clone();
            let spawned = thread::spawn(move || {
                maker.wait();
                // Until this thread is ended.
                while thread::spawn(|| ()).is_ok() {}
            });
            began.wait();
            if spawned.is_ok() { exec_false() } else { 3 }
        })?;
        ends_well("two threads that exec at once", || {
            let began = Arc::new(Barrier::new(2));
            let other = began.clone();
            let spawned = thread::spawn(move || {
                other.wait();
                exec_false()
            });
            began.wait();
            if spawned.is_ok() { exec_false() } else { 3 }
        })?;
    }
    println!("{ROUNDS} rounds: one program each");
    Ok(())
}

/// Checks that a program started by `passes_on` finds [`STRANGE`], or an empty argument.
fn started_as(env: &Env) -> i32 {
    let alone = env.args().count() == 1 && env.vars().eq(["VARIABLE=1"]);
    match env.arg_bytes(0).map(CStr::to_bytes) {
        _ if !alone => 3,
        Some(b"") => 42,
        Some(name) if name == STRANGE.to_bytes() => 43,
        _ => 4,
    }
}

/// Not text in any usual encoding.
const STRANGE: &CStr = c"\xff\x01\x80";

/// A program without arguments gets an empty one: many programs read the one
/// behind `argv[0]` without a look at their number. Arguments need not be text.
fn passes_on() -> Verdict {
    const EXECVE: usize = 11;
    let vars = [c"VARIABLE=1".as_ptr() as usize, 0];
    let (none, strange) = ([0_usize; 1], [STRANGE.as_ptr() as usize, 0]);
    let vectors = [(0, 42), (none.as_ptr() as usize, 42), (strange.as_ptr() as usize, 43)];
    for (arguments, expected) in vectors {
        let path = c"/bin/execs".as_ptr() as usize;
        let execute = || kinds::call(EXECVE, [path, arguments, vars.as_ptr() as usize, 0, 0, 0]);
        let child = process::spawn(|| i32::from(execute().is_err()));
        kinds::ends_with("a program", Status::exit(expected), child)?;
    }
    Ok(())
}

/// The program goes on after an exec that fails.
fn refuses() -> Verdict {
    const EXECVE: usize = 11;
    const ENAMETOOLONG: Errno = Errno(36);
    let path = |path: &CStr| path.as_ptr() as usize;
    let good = path(c"/bin/true");
    let long = alloc::vec![b'a'; 5000];
    let bad_string = [good, 8, 0];
    let mut many = alloc::vec![good; 40_000];
    many.push(0);
    kinds::answers(
        EXECVE,
        &[
            ("no such program", [path(c"/bin/none"), 0, 0, 0, 0, 0], Err(Errno::ENOENT)),
            ("an empty path", [path(c""), 0, 0, 0, 0, 0], Err(Errno::ENOENT)),
            ("a folder", [path(c"/bin"), 0, 0, 0, 0, 0], Err(Errno::EACCES)),
            ("below a program", [path(c"/bin/true/x"), 0, 0, 0, 0, 0], Err(Errno::ENOTDIR)),
            ("a long path", [long.as_ptr() as usize, 0, 0, 0, 0, 0], Err(ENAMETOOLONG)),
            ("a bad path", [8, 0, 0, 0, 0, 0], Err(Errno::EFAULT)),
            ("bad arguments", [good, 8, 0, 0, 0, 0], Err(Errno::EFAULT)),
            ("a bad argument", [good, bad_string.as_ptr() as usize, 0, 0, 0, 0], Err(Errno::EFAULT)),
            ("a bad environment", [good, 0, 8, 0, 0, 0], Err(Errno::EFAULT)),
            ("too many arguments", [good, many.as_ptr() as usize, 0, 0, 0, 0], Err(Errno::E2BIG)),
        ],
    )
}

/// Returns only if exec fails, or if the thread must end.
fn exec_false() -> i32 {
    process::exec(c"/bin/false", &[c"false"], &[]);
    2
}

/// Checks that a child becomes the program, whose status is 1.
fn ends_well(what: &str, child: impl FnOnce() -> i32) -> Verdict {
    let child = process::spawn(child).context("fork")?;
    let status = process::wait(child).context("wait4")?;
    ensure!(status == Status::exit(1), "{what}: {status}");
    Ok(())
}
