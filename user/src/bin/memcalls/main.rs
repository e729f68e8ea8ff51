//! The calls on memory, and their errors for wrong arguments: those of Linux.
#![no_std]
#![no_main]

extern crate alloc;

mod advise;
mod calls;
mod grow;
mod maps;
mod protect;
mod remap;
mod shm;

use user::{Env, Verdict, println};

user::main!(main);

/// A part of the checks, with its name.
type Part = (&'static str, fn() -> Verdict);

fn main(_env: &Env) -> Verdict {
    let parts: [Part; 6] = [
        ("mmap", maps::check),
        ("mprotect", protect::check),
        ("advice", advise::check),
        ("mremap", remap::check),
        ("stacks", grow::check),
        ("shm", shm::check),
    ];
    for (name, part) in parts {
        part()?;
        println!("{name}: ok");
    }
    Ok(())
}
