//! Files, apart from any machine: the error numbers, the flags with which a file is opened
//! ([`flags`]), record locks as programs ask for them ([`flock`]), which process has locked
//! which bytes ([`lock_ranges`]), and which process waits for which ([`lock_waits`]).
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod errno;
pub mod flags;
pub mod flock;
pub mod lock_ranges;
pub mod lock_waits;
