//! The kernel's trace on the host: read, shown as text and as pictures, checked.

pub mod check;
pub mod counters;
pub mod events;
#[cfg(test)]
mod samples;
pub mod story;
pub mod svg;
pub mod units;
