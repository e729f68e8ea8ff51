//! Interrupts and exceptions: from the vector to the kernel's handler and back.

pub mod frame;
