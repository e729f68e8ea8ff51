//! The dialogue with a person on a terminal, apart from any machine.
//!
//! Bytes become keys ([`keys`]), keys change a line ([`mod@line`]), and a [`prompt`]
//! puts both on the screen with a [`history`] behind it. [`cooked`] is the poorer
//! editing that programs get from a terminal, and [`input`] the bytes that wait to be
//! read. [`table`] and [`ranges`] format the
//! answers, [`screen`] shows one that changes. [`mod@bottom`] keeps what is typed below what others print.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod bottom;
pub mod cooked;
pub mod history;
pub mod input;
pub mod keys;
pub mod line;
pub mod prompt;
pub mod ranges;
pub mod screen;
pub mod table;
