//! The kernel's trace on the host: read, shown as text and as pictures, checked.

pub mod check;
pub mod counters;
pub mod events;
pub mod explain;
pub mod perfetto;
pub mod story;
pub mod svg;
#[cfg(test)]
mod tests;
pub mod units;
