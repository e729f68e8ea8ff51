//! What the caches of many CPUs do to each other, as a count.
//!
//! [`model`] is the model: infinite caches, lines of 128 bytes, an owner and the sharers of
//! each. [`turns`] lets the CPUs of an emulator run by turns, so that they meet in the lines as
//! often as CPUs that run at once. Neither knows an emulator or a kernel. [`names`] is for
//! `attribute`, which says what moved.
//!
//! [`profile`] counts the instructions of the same guests by address.

pub mod model;
pub mod names;
pub mod profile;
pub mod turns;
