//! `trace`: record what happens, and show it.

use trace_format::Group;

use crate::trace::{self, OutOfMemory};
use crate::{print, println};

/// How many events `trace show` prints.
const MOST: usize = 40;

/// Answers `trace on|off|show [N]|EVENTS`.
pub(super) fn answer(words: &[&str]) {
    match *words {
        ["show"] => print!("{}", trace::render(MOST)),
        ["show", count] => match count.parse() {
            Ok(most) => print!("{}", trace::render(most)),
            Err(_) => println!("{count}: not a number of events"),
        },
        [list] => match Group::mask_of(list).map(trace::set) {
            Some(Ok(())) => {}
            Some(Err(OutOfMemory)) => println!("there is no memory for it"),
            None => println!("{list}: not on, off, show, or a comma list of {}", trace::names(Group::EVERY)),
        },
        _ => println!("usage: trace on|off|show [N]|EVENTS"),
    }
}
