//! The edge of the address space. Every call that takes an address gets some that end at
//! the last byte, reach over it by one, begin behind it, wrap, or are the kernel's. The
//! first are good, the others give `EFAULT`, and the kernel runs on.
//!
//! The arguments are the numbers of the calls that the kernel has. A number that is
//! missing from the table here is a failure: its edges have not been considered.
#![no_std]
#![no_main]

extern crate alloc;

mod pointers;
mod programs;
mod ranges;
mod signals;
mod table;
mod vectors;

use user::memory::{PAGE, Protection};
use user::sys::answer;
use user::{Context, Env, Verdict, ensure, println};

user::main!(main);

/// First address beyond the user's.
pub(crate) const END: usize = 1 << 52;
/// The last pages, which are mapped, from here on.
pub(crate) const LAST: usize = END - PAGES * PAGE;
const PAGES: usize = 32;

/// Bases of addresses that no program may use.
pub(crate) const FOREIGN: [usize; 4] = [
    // Quadrants 1 to 3 of the effective addresses; the last is the kernel's own memory.
    0x4000_0000_0000_0000,
    0x8000_0000_0000_0000,
    0xc000_0000_0000_0000,
    // The end of the address space, so that the sum wraps.
    0xffff_ffff_ffff_f000,
];

/// Makes the call. Memory that it may change was mapped by the test for it: no reference
/// leads there, or it is read anew.
pub(crate) fn call(nr: usize, args: &[usize]) -> isize {
    // SAFETY: changes no memory that a reference leads to.
    unsafe { answer(nr, args) }
}

fn main(env: &Env) -> Verdict {
    let numbers = || env.args().skip(1).map(str::parse::<usize>);
    for number in numbers() {
        let number = number.context("an argument that is no number")?;
        let known = table::CALLS.iter().any(|call| call.nr == number);
        ensure!(known, "call {number} is new: give it a row in user/src/bin/edges/table.rs");
    }
    map_last_pages()?;
    let exists = |nr| numbers().any(|number| number == Ok(nr));
    pointers::check(exists)?;
    println!("pointers: ok");
    vectors::check()?;
    println!("vectors: ok");
    ranges::check()?;
    println!("ranges: ok");
    signals::check()?;
    println!("signals: ok");
    programs::check()?;
    println!("programs: ok");
    Ok(())
}

/// Maps the last page of the address space, and those below it.
pub(crate) fn map_last_pages() -> Verdict {
    let at = user::memory::map_at(LAST, PAGES * PAGE, Protection::READ_WRITE).context("the last pages")?;
    ensure!(at as usize == LAST, "the last pages are at {at:?}");
    Ok(())
}
