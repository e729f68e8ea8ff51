//! A panic prints its place and ends the whole process with status 101,
//! like Rust's own programs.

use core::panic::PanicInfo;

use crate::{eprintln, process};

/// Exit status of a program that panicked.
const PANIC_STATUS: i32 = 101;

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    eprintln!("pid {}: {info}", process::getpid().0);
    process::exit_group(PANIC_STATUS)
}
