//! Parsers for what the outside hands the kernel.
#![no_std]
#![forbid(unsafe_code)]

pub mod devicetree;
