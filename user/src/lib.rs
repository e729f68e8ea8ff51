//! The runtime of the programs of the default initrd.
#![no_std]
