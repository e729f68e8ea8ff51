//! Parsers for the kernel's untrusted inputs.
#![no_std]
#![forbid(unsafe_code)]

mod bytes;
pub mod cmdline;
pub mod cpio;
pub mod devicetree;
pub mod elf;
