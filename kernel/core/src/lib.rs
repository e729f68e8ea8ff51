//! The lazy-TLB protocol.
#![no_std]
#![forbid(unsafe_code)]
