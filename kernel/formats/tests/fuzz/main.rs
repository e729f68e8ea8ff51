//! Fuzzing of the parsers with more and more damaged inputs.
//!
//! Each target makes an input, feeds its parser and checks the properties of any
//! answer. Most inputs start as valid ones and lose a little of that, so that the
//! deep ends of the parsers are reached. Before that, every file in
//! `fuzz-seeds/TARGET/` is fed once: an input that an earlier run found.
//!
//! | variable | meaning |
//! |---|---|
//! | `FUZZ_SECONDS` | how long each target runs (default 1) |
//! | `FUZZ_SEED` | the seed, to repeat a run; else one is made, and printed |
//! | `FUZZ_INPUT` | a file to feed once instead |
//!
//! A failing input is saved in `target/fuzz/`, with the command that replays it.

mod cmdline;
mod cpio;
mod devicetree;
mod elf;
mod mutate;
mod rng;
mod run;

use run::{Target, run};

#[test]
fn elf() {
    run(&Target { name: "elf", make: elf::make, check: elf::check });
}

#[test]
fn cpio() {
    run(&Target { name: "cpio", make: cpio::make, check: cpio::check });
}

#[test]
fn cmdline() {
    run(&Target { name: "cmdline", make: cmdline::make, check: cmdline::check });
}

#[test]
fn devicetree() {
    run(&Target { name: "devicetree", make: devicetree::make, check: devicetree::check });
}

#[test]
fn a_clean_command_line_reads_back() {
    run(&Target { name: "cmdline-clean", make: cmdline::make_clean, check: cmdline::check_clean });
}

/// Whether `part` lies in `whole`, as memory.
fn lies_in(part: &[u8], whole: &[u8]) -> bool {
    let (part, whole) = (part.as_ptr_range(), whole.as_ptr_range());
    whole.start <= part.start && part.end <= whole.end
}
