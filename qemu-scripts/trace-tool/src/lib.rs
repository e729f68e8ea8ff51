//! The kernel's trace on the host: read, shown as text, checked.

pub mod check;
pub mod counters;
pub mod events;
