//! exec by a process of several threads: the others end, also those that are being
//! made; of two that exec at once, one goes on.
#![no_std]
#![no_main]

extern crate alloc;

use alloc::sync::Arc;

use user::process::{self, Status};
use user::sync::Barrier;
use user::{Context, Env, Verdict, ensure, println, thread};

user::main!(main);

const ROUNDS: usize = 20;

fn main(_: &Env) -> Verdict {
    for _ in 0..ROUNDS {
        ends_well("exec while a thread makes threads", || {
            let began = Arc::new(Barrier::new(2));
            let maker = began.clone();
            let spawned = thread::spawn(move || {
                maker.wait();
                // Until it is to end.
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

/// Returns only if it fails, or if the thread is to end.
fn exec_false() -> i32 {
    process::exec(c"/bin/false", &[c"false"], &[]);
    2
}

/// Whether a child becomes the program, whose status is 1.
fn ends_well(what: &str, child: impl FnOnce() -> i32) -> Verdict {
    let child = process::spawn(child).context("fork")?;
    let status = process::wait(child).context("wait4")?;
    ensure!(status == Status::exit(1), "{what}: {status}");
    Ok(())
}
