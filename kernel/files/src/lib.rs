//! What files are apart from any machine: the error numbers, how a file is opened
//! ([`flags`]), which bytes are locked by which process ([`lock_ranges`], as programs say it
//! in [`flock`]), and who waits for whom ([`lock_waits`]).
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod errno;
pub mod flags;
pub mod flock;
pub mod lock_ranges;
pub mod lock_waits;
