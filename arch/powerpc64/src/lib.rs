//! The hardware half of the kernel.
#![no_std]
